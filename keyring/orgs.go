package keyring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Org returns an org. ErrNotFound.
func (k *Keyring) Org(ctx context.Context, name string) (*Org, error) {
	if checkLabel("name", name, false) != nil {
		return nil, fmt.Errorf("org %w", ErrNotFound)
	}
	return k.store.Org(ctx, name)
}

// PutOrg creates an org (ifRevision AnyRevision, created true) or edits the
// one of that name. edit gets a copy of the stored org, or an empty one. State,
// times and revision are the keyring's. An address list that was set is only
// emptied with AllowAnyone.
func (k *Keyring) PutOrg(ctx context.Context, name string, ifRevision uint64, opts Edits, edit func(*Org) error) (org *Org, created bool, err error) {
	for try := 0; ; try++ {
		org, created, err = k.putOrg(ctx, name, ifRevision, opts, edit)
		lost := errors.Is(err, ErrConflict) || errors.Is(err, ErrExists)
		if !lost || ifRevision != AnyRevision || try == editRetries {
			return org, created, err
		}
	}
}

func (k *Keyring) putOrg(ctx context.Context, name string, ifRevision uint64, opts Edits, edit func(*Org) error) (*Org, bool, error) {
	old, err := k.store.Org(ctx, name)
	created := errors.Is(err, ErrNotFound)
	switch {
	case created && ifRevision != AnyRevision:
		return nil, false, fmt.Errorf("org %s: %w", name, ErrConflict)
	case created:
		old = &Org{Name: name, State: StateActive, CreatedAt: k.clock.time()}
	case err != nil:
		return nil, false, err
	case ifRevision != AnyRevision && old.Revision != ifRevision:
		return nil, false, fmt.Errorf("org %s has revision %d now: %w", name, old.Revision, ErrConflict)
	}
	next := old.clone()
	if err := edit(next); err != nil {
		return nil, false, err
	}
	next.Name, next.State, next.CreatedAt, next.Revision = old.Name, old.State, old.CreatedAt, old.Revision
	if err := next.validate(); err != nil {
		return nil, false, err
	}
	if err := keepLimits("allow", len(old.Allow), len(next.Allow), opts); err != nil {
		return nil, false, err
	}
	if !created && next.equal(old) {
		return old, false, nil
	}
	action := actionEditOrg
	if created {
		action = actionCreateOrg
	}
	return k.writeOrg(ctx, action, old, next, created)
}

// SetOrgState suspends (StateSuspended) or resumes (StateActive) an org and
// with it all of its keys.
func (k *Keyring) SetOrgState(ctx context.Context, name string, ifRevision uint64, to State) (*Org, error) {
	for try := 0; ; try++ {
		old, err := k.Org(ctx, name)
		if err != nil {
			return nil, err
		}
		if ifRevision != AnyRevision && old.Revision != ifRevision {
			return nil, fmt.Errorf("org %s has revision %d now: %w", name, old.Revision, ErrConflict)
		}
		if old.State == to {
			return old, nil
		}
		next := old.clone()
		next.State = to
		action := actionSuspendOrg
		if to == StateActive {
			action = actionResumeOrg
		}
		next, _, err = k.writeOrg(ctx, action, old, next, false)
		if !errors.Is(err, ErrConflict) || ifRevision != AnyRevision || try == editRetries {
			return next, err
		}
	}
}

func (k *Keyring) writeOrg(ctx context.Context, action string, old, next *Org, created bool) (*Org, bool, error) {
	next.Revision, next.UpdatedAt = old.Revision+1, k.clock.time()
	if err := k.apply(ctx, []Mutation{{Org: next, IfRevision: old.Revision}}, orgEntry(ctx, action, old, next)); err != nil {
		return nil, false, err
	}
	return next, created, nil
}

// Orgs returns up to limit orgs by name, beginning behind after, and the name
// to go on from ("" at the end).
func (k *Keyring) Orgs(ctx context.Context, after string, limit int) (orgs []*Org, next string, err error) {
	err = k.store.Orgs(ctx, after, func(o *Org) bool {
		if len(orgs) == limit {
			next = orgs[limit-1].Name
			return false
		}
		orgs = append(orgs, o)
		return true
	})
	return orgs, next, err
}

func (o *Org) clone() *Org {
	c := *o
	c.Allow, c.Deny = slices.Clone(o.Allow), slices.Clone(o.Deny)
	c.Metadata = maps.Clone(o.Metadata)
	return &c
}

func (o *Org) equal(p *Org) bool {
	return o.Title == p.Title && o.State == p.State && o.Tier == p.Tier &&
		slices.Equal(o.Allow, p.Allow) && slices.Equal(o.Deny, p.Deny) && maps.Equal(o.Metadata, p.Metadata)
}

// Filter selects keys of a list. Every field that is set must hold; deleted
// keys are never listed.
type Filter struct {
	Org            string
	State          State
	Scope          string // a required scope that the key's own scopes cover
	Owner          string
	Tag            string
	Tier           string
	ExpiringBefore time.Time // keys whose own lifetime ends before then
	Text           string    // part of id, name, owner or purpose, without regard to case
}
