package keyring

import (
	"context"
	"errors"
	"fmt"
)

// MaxImport bounds one import, in keys.
const MaxImport = 250_000

// Import is a key that comes with a token made elsewhere: its plaintext, or
// its SHA-256. Of a digest nobody can tell how strong the token was.
type Import struct {
	Key       Key
	Token     Secret
	Digest    *[32]byte
	AllowWeak bool // take a token under MinTokenBits
}

// Import stores keys with tokens made elsewhere, all or none. Every fault is
// reported, up to ten, each with the number of its entry. With dryRun nothing
// is stored, and what is returned is what would be.
func (k *Keyring) Import(ctx context.Context, imports []Import, prefix string, dryRun bool) ([]*Key, error) {
	if len(imports) == 0 || len(imports) > MaxImport {
		return nil, invalid("keys", "%d entries; an import has 1 to %d", len(imports), MaxImport)
	}
	const maxFaults = 10
	var faults []error
	keys := make([]*Key, 0, len(imports))
	entryOf := make(map[[32]byte]int, len(imports))
	orgs := make(map[string]error)
	now := k.clock.time()
	for i := range imports {
		key, err := k.importKey(ctx, &imports[i], prefix, orgs)
		if err == nil {
			digest := key.Credentials[0].Digest
			if first, twice := entryOf[digest]; twice {
				err = invalid("token", "the same token as entry %d", first)
			} else if err = k.unused(ctx, digest); err == nil {
				entryOf[digest] = i
				keys = append(keys, key)
			}
		}
		if err != nil {
			if faults = append(faults, atEntry(i, err)); len(faults) == maxFaults {
				break
			}
		}
	}
	if err := errors.Join(faults...); err != nil || dryRun {
		return keys, err
	}
	mutations := make([]Mutation, len(keys))
	for i, key := range keys {
		key.CreatedAt, key.UpdatedAt = now, now
		mutations[i].Key = key
	}
	if err := k.apply(ctx, mutations...); err != nil {
		return nil, err
	}
	return keys, nil
}

// importKey checks one entry and makes its key, with the imported credential.
func (k *Keyring) importKey(ctx context.Context, in *Import, prefix string, orgs map[string]error) (*Key, error) {
	org := in.Key.Org
	if _, known := orgs[org]; !known {
		orgs[org] = k.checkOrg(ctx, org)
	}
	if err := orgs[org]; err != nil {
		return nil, err
	}
	now := k.clock.time()
	spec := in.Key
	spec.Org = "" // checked above, once for all entries
	key, err := k.newKey(ctx, spec, now)
	if err != nil {
		return nil, err
	}
	key.Org = org
	if err := checkLabel("org", org, true); err != nil {
		return nil, err
	}
	var digest [32]byte
	switch {
	case in.Token.IsZero() == (in.Digest == nil):
		return nil, invalid("token", "give either the token or its sha256, one of them")
	case in.Digest != nil:
		digest = *in.Digest
		if digest == ([32]byte{}) || digest == DigestOf("") {
			return nil, invalid("sha256", "this is the digest of no token")
		}
	default:
		if err := validateImported("token", in.Token.text, prefix, in.AllowWeak); err != nil {
			return nil, err
		}
		digest = DigestOf(in.Token.text)
	}
	return key, addCredential(key, Credential{Kind: KindToken, Digest: digest}, now)
}

// unused refuses a token that a key has. The store refuses it too, inside the
// commit, but cannot say which entry it was.
func (k *Keyring) unused(ctx context.Context, digest [32]byte) error {
	holder, err := k.store.KeyByDigest(ctx, digest)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("key %s has, or had, this token: %w", holder.ID, ErrExists)
}

// atEntry names the entry of an import that an error is about.
func atEntry(i int, err error) error {
	var bad *InvalidError
	if errors.As(err, &bad) {
		return invalid(fmt.Sprintf("keys[%d].%s", i, bad.Field), "%s", bad.Reason)
	}
	return fmt.Errorf("keys[%d]: %w", i, err)
}
