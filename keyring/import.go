package keyring

import (
	"context"
	"errors"
	"fmt"
)

// MaxImport bounds one import, in keys.
const MaxImport = 250_000

// Import is a key that comes with a credential made elsewhere, one of: a token,
// the SHA-256 of a token, a shared secret, a public key. Of a digest nobody can
// tell how strong the token was.
type Import struct {
	Key       Key
	Token     Secret
	Digest    *[32]byte
	Secret    Secret
	PublicKey []byte  // PKIX in DER
	Sealer    *Sealer // seals the shared secret
	AllowWeak bool    // take a token under MinTokenBits

	// Fault is what was wrong with the entry before it came here, nil for
	// nothing. It is reported with the others, and the rest does not matter.
	Fault error
}

// Import stores keys with credentials made elsewhere, all or none. Every fault is
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
		key, err := (*Key)(nil), imports[i].Fault
		if err == nil {
			key, err = k.importKey(ctx, &imports[i], prefix, orgs)
		}
		if err == nil {
			digest := key.Credentials[0].Digest
			if first, twice := entryOf[digest]; twice {
				err = invalid(imports[i].field(), "the same as in entry %d", first)
			} else if err = k.unused(ctx, digest); err == nil {
				if digest != ([32]byte{}) {
					entryOf[digest] = i
				}
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
	if err := k.apply(ctx, mutations, importEntries(ctx, keys)...); err != nil {
		return nil, err
	}
	return keys, nil
}

// importKey checks one entry and makes its key, with the imported credential.
func (k *Keyring) importKey(ctx context.Context, in *Import, prefix string, orgs map[string]error) (*Key, error) {
	org := in.Key.Org
	if err := checkLabel("org", org, true); err != nil {
		return nil, err
	}
	if _, known := orgs[org]; !known {
		orgs[org] = k.checkOrg(ctx, org)
	}
	if err := orgs[org]; err != nil {
		return nil, err
	}
	now := k.clock.time()
	if err := in.check(); err != nil {
		return nil, err
	}
	spec := in.Key
	spec.Org = "" // checked above, once for all entries
	if spec.Signing == "" && in.kind().Signs() {
		spec.Signing = SigningRequired
	}
	key, err := k.newKey(ctx, spec, now)
	if err != nil {
		return nil, err
	}
	key.Org = org
	switch {
	case in.kind().Signs():
		_, err := k.issue(key, Issue{
			Kind: in.kind(), Prefix: prefix, Sealer: in.Sealer,
			Secret: in.Secret, PublicKey: in.PublicKey,
		}, now)
		return key, err
	case in.Digest != nil:
		if *in.Digest == ([32]byte{}) || *in.Digest == DigestOf("") {
			return nil, invalid("sha256", "this is the digest of no token")
		}
		return key, addCredential(key, Credential{Kind: KindToken, Digest: *in.Digest}, now)
	}
	if err := validateImported("token", in.Token.text, prefix, in.AllowWeak); err != nil {
		return nil, err
	}
	return key, addCredential(key, Credential{Kind: KindToken, Digest: DigestOf(in.Token.text)}, now)
}

// check refuses an entry that has not exactly one credential.
func (in *Import) check() error {
	given := 0
	for _, has := range []bool{!in.Token.IsZero(), in.Digest != nil, !in.Secret.IsZero(), len(in.PublicKey) > 0} {
		if has {
			given++
		}
	}
	if given != 1 {
		return invalid("token", "give the token, its sha256, a secret or a public_key, one of them")
	}
	return nil
}

func (in *Import) kind() Kind {
	switch {
	case !in.Secret.IsZero():
		return KindSharedSecret
	case len(in.PublicKey) > 0:
		return KindPublicKey
	}
	return KindToken
}

// field is the name of what an entry brings, as the management API has it.
func (in *Import) field() string {
	switch {
	case !in.Secret.IsZero():
		return "secret"
	case in.Digest != nil:
		return "sha256"
	}
	return "token"
}

// unused refuses a token that a key has. The store refuses it too, inside the
// commit, but cannot say which entry it was.
func (k *Keyring) unused(ctx context.Context, digest [32]byte) error {
	if digest == ([32]byte{}) {
		return nil
	}
	holder, err := k.store.KeyByDigest(ctx, digest)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("key %s has, or had, this token or secret: %w", holder.ID, ErrExists)
}

// EntryError is an error about an entry of an import that is not a mistake in one
// of its fields; those are InvalidErrors.
type EntryError struct {
	Entry string // as the management API names it, e.g. "keys[2]"
	Err   error
}

func (e *EntryError) Error() string { return e.Entry + ": " + e.Err.Error() }

// Unwrap implements errors.Is and errors.As.
func (e *EntryError) Unwrap() error { return e.Err }

// atEntry names the entry of an import that an error is about.
func atEntry(i int, err error) error {
	entry := fmt.Sprintf("keys[%d]", i)
	var bad *InvalidError
	switch {
	case !errors.As(err, &bad):
		return &EntryError{entry, err}
	case bad.Field != "":
		entry += "." + bad.Field
	}
	return invalid(entry, "%s", bad.Reason)
}
