package keyring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// Erasure is whose personal data is to be erased: what the trail, the record of
// use and the keys themselves say of somebody who asks for it.
type Erasure struct {
	Key   string // one key's
	Owner string // or all of one owner's
	Org   string // or what the trail says of an org itself, and not of its keys

	Keys    []string // whose traces are erased
	Final   []string // of them, those that are over: their own fields are erased, too
	InForce []string // of them, those that still name the owner, and go on doing so
	Former  []string // keys that named the owner once, and name somebody else now
}

// FindErasable finds what an erasure is about: it fills in its lists.
// ErrNotFound if there is no such key or org, or nothing that names the owner.
func (k *Keyring) FindErasable(ctx context.Context, e *Erasure) error {
	if e.Org != "" {
		_, err := k.Org(ctx, e.Org)
		return err
	}
	add := func(key *Key) {
		e.Keys = append(e.Keys, key.ID)
		if key.State.Final() {
			e.Final = append(e.Final, key.ID)
		} else {
			e.InForce = append(e.InForce, key.ID)
		}
	}
	if e.Owner == "" {
		key, err := k.AnyKey(ctx, e.Key)
		if err == nil {
			add(key)
		}
		return err
	}
	if err := k.EachKey(ctx, func(key *Key) {
		if key.Owner == e.Owner {
			add(key)
		}
	}); err != nil {
		return err
	}
	mine := e.set()
	err := k.Trail().Trail(ctx, 0, func(entry *audit.Entry) bool {
		if e.names(entry) {
			if key := entry.About().Key; key != "" && !mine[key] {
				mine[key] = true
				e.Former = append(e.Former, key)
			}
		}
		return true
	})
	if err == nil && len(e.Keys)+len(e.Former) == 0 {
		err = fmt.Errorf("nothing names this owner: %w", ErrNotFound)
	}
	return err
}

func (e *Erasure) set() map[string]bool {
	set := make(map[string]bool, len(e.Keys))
	for _, id := range e.Keys {
		set[id] = true
	}
	return set
}

// names reports whether an entry tells that a key's owner was, or became, the
// one whose data is erased.
func (e *Erasure) names(entry *audit.Entry) bool {
	if e.Owner == "" || !bytes.Contains(entry.Details, []byte(`"owner"`)) {
		return false
	}
	var details struct {
		Changes struct {
			Owner struct{ Before, After string } `json:"owner"`
		} `json:"changes"`
	}
	_ = json.Unmarshal(entry.Details, &details)
	return details.Changes.Owner.Before == e.Owner || details.Changes.Owner.After == e.Owner
}

// Matches returns what chooses the entries of a trail whose details are erased,
// and counts them.
func (e *Erasure) Matches(count *int) func(*audit.Entry) bool {
	mine := e.set()
	return func(entry *audit.Entry) bool {
		about := entry.About()
		// That the erasure itself was asked for is no trace of the key.
		chosen := mine[about.Key] || e.names(entry) || e.Org != "" && about.Key == "" && about.Org == e.Org
		if about.Action == actionErase || !chosen {
			return false
		}
		*count++
		return true
	}
}

// TellErasure records that e is about to be erased. It names no owner.
func (k *Keyring) TellErasure(ctx context.Context, e *Erasure) error {
	return k.apply(ctx, nil, e.entries(ctx, k, slices.Concat(e.Keys, e.Former), nil)...)
}

// erased is what a name that was erased becomes: a key has one.
const erased = "(erased)"

// EraseFields erases what keys that are over say of their owner. Their states,
// scopes and credentials stay: what they could reach is no secret of the owner's.
func (k *Keyring) EraseFields(ctx context.Context, e *Erasure) error {
	for try := 0; ; try++ {
		var mutations []Mutation
		var ids []string
		fields := make(audit.Changes)
		for _, id := range e.Final {
			key, err := k.AnyKey(ctx, id)
			if err != nil {
				return err
			}
			next := key.clone()
			next.Name, next.Owner, next.Purpose = erased, "", ""
			next.Tags, next.Metadata, next.Allow, next.Deny, next.Origins = nil, nil, nil, nil, nil
			next.ClientCerts = nil
			if !key.State.Final() || next.equal(key) {
				continue
			}
			_, personal := changesOfKey(key, next)
			for field := range personal {
				fields[field] = audit.Change{}
			}
			next.Revision, next.UpdatedAt = key.Revision+1, k.clock.time()
			mutations, ids = append(mutations, Mutation{Key: next, IfRevision: key.Revision}), append(ids, id)
		}
		if len(mutations) == 0 {
			return nil
		}
		err := k.apply(ctx, mutations, e.entries(ctx, k, ids, fields)...)
		if !errors.Is(err, ErrConflict) || try == editRetries {
			return err
		}
	}
}

func (e *Erasure) entries(ctx context.Context, k *Keyring, ids []string, fields audit.Changes) (entries []audit.Draft) {
	now := k.clock.time()
	if e.Org != "" {
		return []audit.Draft{audit.Action{Name: actionErase, Org: e.Org}.Draft(ctx, now)}
	}
	for some := range slices.Chunk(ids, audit.MaxKeys) {
		a := audit.Action{Name: actionErase, Keys: some, Count: len(ids), Personal: fields}
		entries = append(entries, a.Draft(ctx, now))
	}
	return entries
}
