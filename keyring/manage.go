package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// AnyRevision, given as ifRevision, changes a record whatever its revision.
const AnyRevision = 0

// editRetries bounds how often a change without a precondition is tried again
// after it met another change of the same record.
const editRetries = 50

// Create stores a new active key with one credential and returns it with what
// was made for the caller, see Issue. A key whose credential signs requires
// signing unless spec says otherwise. The fields
// that the keyring owns (id, state, times, revision, credentials) are set by
// it, whatever spec holds.
func (k *Keyring) Create(ctx context.Context, spec Key, issue Issue) (*Key, Secret, error) {
	now := k.clock.time()
	if spec.Signing == "" && issue.Kind.Signs() {
		spec.Signing = SigningRequired
	}
	key, err := k.newKey(ctx, spec, now)
	if err != nil {
		return nil, Secret{}, err
	}
	secret, err := k.issue(key, issue, now)
	if err != nil {
		return nil, Secret{}, inCredential(err)
	}
	if err := key.checkSigning(now); err != nil {
		return nil, Secret{}, err
	}
	if err := k.apply(ctx, []Mutation{{Key: key}}, keyEntry(ctx, actionCreate, nil, key)); err != nil {
		return nil, Secret{}, err
	}
	return key, secret, nil
}

// inCredential names the field of a new key's credential that an error is about
// as the management API does. That signing is off is about the key.
func inCredential(err error) error {
	var bad *InvalidError
	if errors.As(err, &bad) && bad.Field != "signing" {
		return invalid("credential."+bad.Field, "%s", bad.Reason)
	}
	return err
}

// newKey checks spec and sets the fields that the keyring owns.
func (k *Keyring) newKey(ctx context.Context, spec Key, now time.Time) (*Key, error) {
	key := spec.clone()
	if err := key.validate(); err != nil {
		return nil, err
	}
	if !key.ExpiresAt.IsZero() && !now.Before(key.ExpiresAt) {
		return nil, invalid("expires_at", "%s has passed; write a time in the future", key.ExpiresAt.Format(time.RFC3339))
	}
	if err := k.checkOrg(ctx, key.Org); err != nil {
		return nil, err
	}
	id, err := newKeyID(now, k.random)
	if err != nil {
		return nil, err
	}
	key.ID, key.State, key.Revision = id, StateActive, 1
	key.CreatedAt, key.UpdatedAt = now, now
	key.Credentials, key.Rotation = nil, nil
	return key, nil
}

// checkOrg refuses a key for an org that does not exist: a mistyped name would
// leave the key without the org's restrictions.
func (k *Keyring) checkOrg(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	_, err := k.store.Org(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return invalid("org", "there is no org %q; create it first with PUT /api_keys/orgs/%s", name, name)
	}
	return err
}

// Key returns a key. ErrNotFound also for a deleted one.
func (k *Keyring) Key(ctx context.Context, id string) (*Key, error) {
	if !ValidKeyID(id) {
		return nil, fmt.Errorf("key %w", ErrNotFound)
	}
	key, err := k.store.Key(ctx, id)
	if err != nil {
		return nil, err
	}
	if key.State == StateDeleted {
		return nil, fmt.Errorf("key %s was deleted: %w", id, ErrNotFound)
	}
	return key, nil
}

// AnyKey is Key for deleted ones, too.
func (k *Keyring) AnyKey(ctx context.Context, id string) (*Key, error) {
	if !ValidKeyID(id) {
		return nil, fmt.Errorf("key %w", ErrNotFound)
	}
	return k.store.Key(ctx, id)
}

// EachKey calls fn with every key, deleted ones too, in ascending order of id.
func (k *Keyring) EachKey(ctx context.Context, fn func(*Key)) error {
	err := k.store.Keys(ctx, "", func(key *Key) bool {
		fn(key)
		return ctx.Err() == nil
	})
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// Edits says what an edit may do beyond the ordinary.
type Edits struct {
	// AllowAnyone permits to empty a list that limited who may use the key: the
	// allowed addresses, origins or client certificates.
	AllowAnyone bool
}

// Edit changes what a caller may change about a key: edit gets a copy and
// changes it. Fields that the keyring owns are put back. ifRevision is the
// revision the caller saw (ErrConflict), or AnyRevision. A revoked key cannot
// be edited (ErrState).
func (k *Keyring) Edit(ctx context.Context, id string, ifRevision uint64, opts Edits, edit func(*Key) error) (*Key, error) {
	return k.change(ctx, actionEdit, id, ifRevision, func(key *Key, now time.Time) error {
		if key.State.Final() {
			return fmt.Errorf("the key is %s, which is final: %w", key.State, ErrState)
		}
		old := key.clone()
		if err := edit(key); err != nil {
			return err
		}
		key.ID, key.State, key.Revision, key.CreatedAt = old.ID, old.State, old.Revision, old.CreatedAt
		key.Credentials, key.Rotation = old.Credentials, old.Rotation
		if err := key.validate(); err != nil {
			return err
		}
		if key.Signing != old.Signing {
			if err := key.checkSigning(now); err != nil {
				return err
			}
		}
		if key.Org != old.Org {
			if err := k.checkMove(ctx, old, key, opts); err != nil {
				return err
			}
		}
		if err := keepLimits("allow", len(old.Allow), len(key.Allow), opts); err != nil {
			return err
		}
		if err := keepLimits("client_certs", len(old.ClientCerts), len(key.ClientCerts), opts); err != nil {
			return err
		}
		return keepLimits("origins", len(old.Origins), len(key.Origins), opts)
	})
}

// checkMove checks the org that a key moves to. Leaving an org whose addresses
// bound the key is one more way of emptying a list.
func (k *Keyring) checkMove(ctx context.Context, old, key *Key, opts Edits) error {
	if err := k.checkOrg(ctx, key.Org); err != nil {
		return err
	}
	if old.Org == "" || len(key.Allow) > 0 || opts.AllowAnyone {
		return nil
	}
	left, err := k.store.Org(ctx, old.Org)
	if err != nil || len(left.Allow) == 0 {
		return err
	}
	if key.Org != "" {
		if joined, err := k.store.Org(ctx, key.Org); err != nil || len(joined.Allow) > 0 {
			return err
		}
	}
	return invalid("org", "the addresses of org %s limited who may use the key, and nothing would after the move; set \"allow\", or add \"allow_anyone\": true if anyone is meant", old.Org)
}

// keepLimits refuses to turn "only these" into "anyone" by emptying a list.
func keepLimits(field string, before, after int, opts Edits) error {
	if before > 0 && after == 0 && !opts.AllowAnyone {
		return invalid(field, "emptying this list would let anyone use it from anywhere; if that is meant, add \"allow_anyone\": true")
	}
	return nil
}

// Suspend takes a key out of force until Resume.
func (k *Keyring) Suspend(ctx context.Context, id string, ifRevision uint64) (*Key, error) {
	return k.setState(ctx, actionSuspend, id, ifRevision, StateSuspended)
}

// Resume puts a suspended key in force again.
func (k *Keyring) Resume(ctx context.Context, id string, ifRevision uint64) (*Key, error) {
	return k.setState(ctx, actionResume, id, ifRevision, StateActive)
}

// Revoke takes a key out of force for ever.
func (k *Keyring) Revoke(ctx context.Context, id string, ifRevision uint64) (*Key, error) {
	return k.setState(ctx, actionRevoke, id, ifRevision, StateRevoked)
}

// RevokeLeaked is Revoke for a key whose token was found by Identify.
func (k *Keyring) RevokeLeaked(ctx context.Context, id string) (*Key, error) {
	return k.setState(ctx, actionRevokeLeaked, id, AnyRevision, StateRevoked)
}

// Delete hides a revoked key. Its tombstone keeps the id and the digests of
// its tokens, so that neither comes back; it is what is returned.
func (k *Keyring) Delete(ctx context.Context, id string, ifRevision uint64) (*Key, error) {
	return k.setState(ctx, actionDelete, id, ifRevision, StateDeleted)
}

// setState is the state machine. Going where the key already is changes
// nothing and is no error, so that a caller who lost the answer can ask again.
func (k *Keyring) setState(ctx context.Context, action, id string, ifRevision uint64, to State) (*Key, error) {
	return k.change(ctx, action, id, ifRevision, func(key *Key, now time.Time) error {
		switch {
		case key.State == to:
		case to == StateDeleted && key.State != StateRevoked:
			return fmt.Errorf("the key is %s; revoke it before it is deleted: %w", key.State, ErrState)
		case to != StateDeleted && key.State.Final():
			return fmt.Errorf("the key is %s, which is final: %w", key.State, ErrState)
		}
		key.State = to
		return nil
	})
}

// change reads a key, lets fn change a copy, and commits it if anything
// changed. Without a precondition it starts again when somebody else was
// faster.
func (k *Keyring) change(ctx context.Context, action, id string, ifRevision uint64, fn func(key *Key, now time.Time) error) (*Key, error) {
	for try := 0; ; try++ {
		key, err := k.Key(ctx, id)
		if err != nil {
			return nil, err
		}
		if ifRevision != AnyRevision && key.Revision != ifRevision {
			return nil, fmt.Errorf("key %s has revision %d now: %w", id, key.Revision, ErrConflict)
		}
		next, now := key.clone(), k.clock.time()
		if err := fn(next, now); err != nil {
			return nil, err
		}
		if next.equal(key) {
			return key, nil
		}
		next.Revision, next.UpdatedAt = key.Revision+1, now
		err = k.apply(ctx, []Mutation{{Key: next, IfRevision: key.Revision}}, keyEntry(ctx, action, key, next))
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, ErrConflict) || ifRevision != AnyRevision || try == editRetries {
			return nil, err
		}
	}
}

// clone returns a copy that shares nothing with k that can be changed.
func (k *Key) clone() *Key {
	c := *k
	c.Scopes, c.Roles, c.Tags, c.Origins = slices.Clone(k.Scopes), slices.Clone(k.Roles), slices.Clone(k.Tags), slices.Clone(k.Origins)
	c.Allow, c.Deny = slices.Clone(k.Allow), slices.Clone(k.Deny)
	c.Limits = slices.Clone(k.Limits)
	c.ClientCerts = slices.Clone(k.ClientCerts)
	c.Metadata = maps.Clone(k.Metadata)
	c.Credentials = slices.Clone(k.Credentials)
	if k.Rotation != nil {
		r := *k.Rotation
		r.Old = slices.Clone(r.Old)
		c.Rotation = &r
	}
	return &c
}

// equal reports whether two versions of a key say the same.
func (k *Key) equal(o *Key) bool {
	return k.Name == o.Name && k.Org == o.Org && k.Owner == o.Owner && k.Purpose == o.Purpose && k.Tier == o.Tier &&
		k.State == o.State && k.Signing == o.Signing &&
		k.NotBefore.Equal(o.NotBefore) && k.ExpiresAt.Equal(o.ExpiresAt) &&
		slices.Equal(k.Scopes, o.Scopes) && slices.Equal(k.Roles, o.Roles) && slices.Equal(k.Tags, o.Tags) && slices.Equal(k.Origins, o.Origins) &&
		slices.Equal(k.Allow, o.Allow) && slices.Equal(k.Deny, o.Deny) && slices.Equal(k.Limits, o.Limits) && slices.Equal(k.ClientCerts, o.ClientCerts) && maps.Equal(k.Metadata, o.Metadata) &&
		slices.EqualFunc(k.Credentials, o.Credentials, sameCredential) && k.Rotation.equal(o.Rotation)
}

func sameCredential(a, b Credential) bool {
	return a.N == b.N && a.Digest == b.Digest && bytes.Equal(a.Sealed, b.Sealed) && a.ExpiresAt.Equal(b.ExpiresAt) && a.EndedAt.Equal(b.EndedAt)
}

func (r *Rotation) equal(o *Rotation) bool {
	if r == nil || o == nil {
		return r == o
	}
	return r.New == o.New && r.StartedAt.Equal(o.StartedAt) && r.EndsAt.Equal(o.EndsAt) && r.EndWhenIdle == o.EndWhenIdle
}
