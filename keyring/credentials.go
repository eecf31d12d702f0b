package keyring

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// DefaultOverlap is how long the old credential keeps working after a rotation,
// unless said otherwise; MaxOverlap is the longest that can be said.
const (
	DefaultOverlap = 7 * 24 * time.Hour
	MaxOverlap     = 365 * 24 * time.Hour
)

// RotationPlan says how the old credentials of a rotation end.
type RotationPlan struct {
	Overlap time.Duration // how long they keep working, 0 to MaxOverlap

	// EndWhenIdle ends them sooner, once they were not used for so long, counted
	// from the rotation at the earliest; 0: not. At least MinIdle, less than
	// Overlap.
	EndWhenIdle time.Duration
}

// MinIdle is the shortest EndWhenIdle: what is used every hour is not idle.
const MinIdle = time.Hour

func (p RotationPlan) validate() error {
	switch {
	case p.EndWhenIdle%time.Second != 0:
		return invalid("end_when_idle", "write whole seconds")
	case p.Overlap < 0 || p.Overlap > MaxOverlap:
		return invalid("overlap", "%s is outside 0s to %s", p.Overlap, MaxOverlap)
	case p.EndWhenIdle == 0:
	case p.EndWhenIdle < MinIdle:
		return invalid("end_when_idle", "%s is too short to tell that a credential is not used any more; write at least %s", p.EndWhenIdle, MinIdle)
	case p.EndWhenIdle >= p.Overlap:
		return invalid("end_when_idle", "%s is not shorter than the overlap of %s, which ends the old credential anyway", p.EndWhenIdle, p.Overlap)
	}
	return nil
}

// Rotate gives a key a new credential beside the old ones, which end after the
// overlap, or when they would have ended anyway if that is sooner; an overlap
// of 0 ends them at once, for good. The new one is of the newest live one's
// kind unless issue says otherwise. While a rotation is pending another one is
// ErrState. Nothing else about the key changes.
func (k *Keyring) Rotate(ctx context.Context, id string, ifRevision uint64, plan RotationPlan, issue Issue) (*Key, Secret, error) {
	overlap := plan.Overlap
	if err := plan.validate(); err != nil {
		return nil, Secret{}, err
	}
	var secret Secret
	key, err := k.change(ctx, actionRotate, id, ifRevision, func(key *Key, now time.Time) error {
		if err := mayIssue(key, now); err != nil {
			return err
		}
		if key.RotationPending(now) {
			return fmt.Errorf("a rotation is pending until %s; end it with DELETE …/credentials/{n} or cancel it with DELETE …/rotate: %w", key.Rotation.EndsAt.Format(time.RFC3339), ErrState)
		}
		issue := issue
		if issue.Kind == "" {
			issue.Kind = key.newestKind(now)
		}
		rotation := Rotation{StartedAt: now, EndsAt: now.Add(overlap), EndWhenIdle: plan.EndWhenIdle}
		for i := range key.Credentials {
			c := &key.Credentials[i]
			if !c.Live(now) {
				continue
			}
			if overlap == 0 {
				c.end(now)
				continue
			}
			rotation.Old = append(rotation.Old, RetiringCredential{c.N, c.ExpiresAt})
			if c.ExpiresAt.IsZero() || rotation.EndsAt.Before(c.ExpiresAt) {
				c.ExpiresAt = rotation.EndsAt
			}
		}
		var err error
		if secret, err = k.issue(key, issue, now); err != nil {
			return err
		}
		key.Rotation = nil
		if len(rotation.Old) > 0 {
			rotation.New = key.Credentials[len(key.Credentials)-1].N
			key.Rotation = &rotation
		}
		return nil
	})
	if err != nil {
		return nil, Secret{}, err
	}
	return key, secret, nil
}

// CancelRotation ends the new credential of a pending rotation and gives the
// old ones back the life they had. ErrState when none is pending.
func (k *Keyring) CancelRotation(ctx context.Context, id string, ifRevision uint64) (*Key, error) {
	return k.change(ctx, actionCancelRotation, id, ifRevision, func(key *Key, now time.Time) error {
		if key.State.Final() || !key.RotationPending(now) {
			return fmt.Errorf("no rotation is pending: %w", ErrState)
		}
		if c := key.Credential(key.Rotation.New); c != nil && c.EndedAt.IsZero() {
			c.end(now)
		}
		for _, old := range key.Rotation.Old {
			if c := key.Credential(old.N); c != nil && c.EndedAt.IsZero() {
				c.ExpiresAt = old.ExpiresWithout
			}
		}
		key.Rotation = nil
		return nil
	})
}

// AddCredential gives a key one more credential. ErrState when it is final or
// has MaxLiveCredentials.
func (k *Keyring) AddCredential(ctx context.Context, id string, ifRevision uint64, issue Issue) (*Key, Secret, error) {
	var secret Secret
	key, err := k.change(ctx, actionAddCredential, id, ifRevision, func(key *Key, now time.Time) (err error) {
		if err := mayIssue(key, now); err != nil {
			return err
		}
		secret, err = k.issue(key, issue, now)
		return err
	})
	if err != nil {
		return nil, Secret{}, err
	}
	return key, secret, nil
}

// EndCredential ends one credential now and for good. Ending the old one
// completes a pending rotation. Ending one that is over changes nothing.
func (k *Keyring) EndCredential(ctx context.Context, id string, ifRevision uint64, n uint32) (*Key, error) {
	return k.change(ctx, actionEndCredential, id, ifRevision, func(key *Key, now time.Time) error {
		c := key.Credential(n)
		if c == nil {
			return fmt.Errorf("key %s has no credential %d: %w", id, n, ErrNotFound)
		}
		if key.RotationPending(now) && n == key.Rotation.New {
			// The old ones would die at the end of the overlap with nothing
			// in their place.
			return fmt.Errorf("credential %d is the new one of a pending rotation; cancel the rotation with DELETE …/rotate instead: %w", n, ErrState)
		}
		if c.EndedAt.IsZero() {
			c.end(now)
		}
		if !key.RotationPending(now) {
			key.Rotation = nil
		}
		return nil
	})
}

// end ends a credential for good. A secret that nobody may use any more is not
// kept.
func (c *Credential) end(now time.Time) { c.EndedAt, c.Sealed = now, nil }

// RotationPending reports whether an old credential of the last rotation is
// still live beside the new one.
func (k *Key) RotationPending(now time.Time) bool {
	if k.Rotation == nil {
		return false
	}
	if c := k.Credential(k.Rotation.New); c == nil || !c.Live(now) {
		return false
	}
	return slices.ContainsFunc(k.Rotation.Old, func(old RetiringCredential) bool {
		c := k.Credential(old.N)
		return c != nil && c.Live(now)
	})
}

// mayIssue refuses new credentials for a key that cannot be used any more.
func mayIssue(key *Key, now time.Time) error {
	if key.State.Final() {
		return fmt.Errorf("the key is %s, which is final: %w", key.State, ErrState)
	}
	if !key.ExpiresAt.IsZero() && !now.Before(key.ExpiresAt) {
		return fmt.Errorf("the key expired at %s; set a later expires_at first: %w", key.ExpiresAt.Format(time.RFC3339), ErrState)
	}
	return nil
}

// addCredential numbers a credential, bounds the list, and appends it.
func addCredential(key *Key, c Credential, now time.Time) error {
	if !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt) {
		return invalid("expires_at", "%s has passed; write a time in the future", c.ExpiresAt.Format(time.RFC3339))
	}
	live := 0
	for i := range key.Credentials {
		if key.Credentials[i].Live(now) {
			live++
		}
		c.N = max(c.N, key.Credentials[i].N)
	}
	if live >= MaxLiveCredentials {
		return fmt.Errorf("the key has %d live credentials, the most it can have; end one first: %w", live, ErrState)
	}
	c.N++
	c.CreatedAt = now
	for i := 0; len(key.Credentials) >= MaxCredentials && i < len(key.Credentials); {
		if key.Credentials[i].Live(now) {
			i++
			continue
		}
		key.Credentials = slices.Delete(key.Credentials, i, i+1)
	}
	key.Credentials = append(key.Credentials, c)
	return nil
}

// newestKind returns the kind of the newest live credential, a token if there
// is none.
func (k *Key) newestKind(now time.Time) Kind {
	kind := KindToken
	for i := range k.Credentials {
		if c := &k.Credentials[i]; c.Live(now) {
			kind = c.Kind
		}
	}
	return kind
}
