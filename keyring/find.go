package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Keys returns up to limit keys that pass the filter, by id, beginning behind
// the id after, and the id to go on from ("" at the end).
func (k *Keyring) Keys(ctx context.Context, f Filter, after string, limit int) (keys []*Key, next string, err error) {
	text := strings.ToLower(f.Text)
	var ctxErr error
	err = k.store.Keys(ctx, after, func(key *Key) bool {
		if ctxErr = ctx.Err(); ctxErr != nil {
			return false
		}
		if !f.matches(key, text) {
			return true
		}
		if len(keys) == limit {
			next = keys[limit-1].ID
			return false
		}
		keys = append(keys, key)
		return true
	})
	return keys, next, errors.Join(err, ctxErr)
}

func (f *Filter) matches(k *Key, text string) bool {
	return k.State != StateDeleted &&
		(f.Org == "" || f.Org == k.Org) &&
		(f.State == "" || f.State == k.State) &&
		(f.Owner == "" || f.Owner == k.Owner) &&
		(f.Tier == "" || f.Tier == k.Tier) &&
		(f.Tag == "" || slices.Contains(k.Tags, f.Tag)) &&
		(f.Scope == "" || compileGrants(k.Scopes).Covers(f.Scope)) &&
		(f.ExpiringBefore.IsZero() || !k.ExpiresAt.IsZero() && k.ExpiresAt.Before(f.ExpiringBefore)) &&
		(text == "" || containsText(k, text))
}

func containsText(k *Key, lower string) bool {
	return slices.ContainsFunc([]string{k.ID, k.Name, k.Owner, k.Purpose}, func(s string) bool {
		return strings.Contains(strings.ToLower(s), lower)
	})
}

// Identify finds whose token this is, whatever state its key is in. A deleted
// key is found too: the finder of a leaked token wants to know that it is
// harmless. ErrNotFound.
func (k *Keyring) Identify(ctx context.Context, token Secret) (*Key, uint32, error) {
	digest := DigestOf(token.text)
	key, err := k.store.KeyByDigest(ctx, digest)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			return nil, 0, fmt.Errorf("no key has, or ever had, this token or secret: %w", ErrNotFound)
		}
		return nil, 0, err
	}
	for i := range key.Credentials {
		if key.Credentials[i].Digest == digest {
			return key, key.Credentials[i].N, nil
		}
	}
	return key, 0, nil // an ended credential that the key's bounded list dropped
}
