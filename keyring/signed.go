package keyring

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// decoy takes the place of a key that does not exist, so that finding out costs
// as much as a wrong signature. It is random: with a decoy that somebody knows he
// could make a signature that fits, which fails later and in another way than a
// wrong one.
var decoy = must(hmacsig.SecretKey([]byte(rand.Text())))

func must(k hmacsig.Key, err error) hmacsig.Key {
	if err != nil {
		panic(err)
	}
	return k
}

// VerifySigned decides about a request that claims to be signed by a key. verify
// is called with what verifies the signatures of each credential of the key that
// was not ended, until it reports true; if there is none, once with a key that
// nobody has. The error is not nil if a shared secret could not be opened and no other
// credential fitted: then it is not known whether the signature is good.
func (k *Keyring) VerifySigned(id string, sealer *Sealer, verify func(hmacsig.Key) bool) (Proven, Verdict, error) {
	key, ok := k.index.Load().snapshot().byID(id)
	if !ok {
		verify(decoy)
		return Proven{}, Unknown, nil
	}
	var failed error
	tried := false
	var buf [MaxTokenLen]byte
	for e, material := range key.credentials {
		if len(material) == 0 {
			continue
		}
		verifier, err := verifierOfMaterial(e.kind(), material, buf[:0], sealer, id, e.credential())
		if err != nil {
			failed = err
			continue
		}
		tried = true
		if verify(verifier) {
			return Proven{e}, e.signedVerdict(k.clock.unixMilli()), nil
		}
	}
	if !tried {
		verify(decoy)
	}
	return Proven{}, Unknown, failed
}

// verifierOfMaterial opens what the index keeps of a credential that signs.
func verifierOfMaterial(kind Kind, material, buf []byte, sealer *Sealer, id string, n uint32) (hmacsig.Key, error) {
	if kind == KindPublicKey {
		return hmacsig.ParsePublicKeyDER(material)
	}
	secret, err := sealer.open(buf, material, id, n)
	if err != nil {
		return hmacsig.Key{}, fmt.Errorf("credential %d of key %s: %w", n, id, err)
	}
	return hmacsig.SecretKey(secret)
}

// signedVerdict judges a key that a signature proved.
func (e entry) signedVerdict(now int64) Verdict {
	v := e.verdict(now)
	signing := e.profile().signing
	switch {
	case v == MustSign:
		return InForce
	case v == InForce && signing == SigningOff:
		return MustNotSign
	}
	return v
}

// Renew returns what has become of a key that was proven a while ago: it may have
// been changed, revoked or deleted since. It verifies nothing anew.
func (k *Keyring) Renew(p Proven) (Proven, Verdict) {
	s := k.index.Load().snapshot()
	if p.e.s != s {
		key, ok := s.byID(p.ID())
		if !ok {
			return Proven{}, Unknown
		}
		n := p.Credential()
		p = Proven{}
		for e := range key.credentials {
			if e.credential() == n {
				p = Proven{e}
			}
		}
	}
	if p.IsZero() {
		return p, Unknown
	}
	now := k.clock.unixMilli()
	if p.e.kind() == KindToken {
		return p, p.e.verdict(now)
	}
	return p, p.e.signedVerdict(now)
}

// CheckSealed opens every shared secret once, and reports what fails: a master
// key is missing or wrong, or records were changed. It tells ErrSealed.
func (k *Keyring) CheckSealed(sealer *Sealer) error {
	reasons := make(map[string]int)
	secrets, failed := 0, 0
	var example string
	for key := range k.index.Load().snapshot().allKeys {
		for e, material := range key.credentials {
			if e.kind() != KindSharedSecret || len(material) == 0 {
				continue
			}
			secrets++
			if _, err := sealer.open(nil, material, key.id(), e.credential()); err != nil {
				failed++
				reasons[err.Error()]++
				example = key.id()
			}
		}
	}
	if failed == 0 {
		return nil
	}
	var reason string
	for text := range maps.Keys(reasons) {
		if reason == "" || reasons[text] > reasons[reason] {
			reason = text
		}
	}
	return fmt.Errorf("%d of %d shared secrets, such as that of key %s: %w: %s", failed, secrets, example, ErrSealed, reason)
}

// HasSealed reports whether any key has a shared secret that is not ended.
func (k *Keyring) HasSealed() bool {
	for key := range k.index.Load().snapshot().allKeys {
		for e, material := range key.credentials {
			if e.kind() == KindSharedSecret && len(material) > 0 {
				return true
			}
		}
	}
	return false
}

// Reseal seals every shared secret that is not sealed with the first master key
// anew with it, and returns how many there were. It may be stopped and begun
// again. Afterwards the other master keys are not needed any more, except for
// old backups.
func (k *Keyring) Reseal(ctx context.Context, sealer *Sealer) (int, error) {
	if sealer == nil {
		return 0, fmt.Errorf("%w: there is no master key", ErrSealed)
	}
	done := 0
	for key := range k.index.Load().snapshot().allKeys {
		if !key.needsReseal(sealer) {
			continue
		}
		_, err := k.change(ctx, actionReseal, key.id(), AnyRevision, func(key *Key, _ time.Time) error {
			for i := range key.Credentials {
				c := &key.Credentials[i]
				if len(c.Sealed) == 0 || sealer.current(c.Sealed) {
					continue
				}
				secret, err := sealer.open(nil, c.Sealed, key.ID, c.N)
				if err != nil {
					return fmt.Errorf("credential %d of key %s: %w", c.N, key.ID, err)
				}
				c.Sealed = sealer.seal(Secret{string(secret)}, key.ID, c.N)
				done++
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) { // deleted in the meantime
			return done, err
		}
	}
	return done, nil
}

// HasSigners reports whether any key has a credential that signs, and is not
// ended.
func (k *Keyring) HasSigners() bool {
	for key := range k.index.Load().snapshot().allKeys {
		for _, material := range key.credentials {
			if len(material) > 0 {
				return true
			}
		}
	}
	return false
}

// needsReseal reports whether a key has a secret that another master key
// sealed.
func (k indexedKey) needsReseal(sealer *Sealer) bool {
	for e, material := range k.credentials {
		if e.kind() == KindSharedSecret && len(material) > 0 && !sealer.current(material) {
			return true
		}
	}
	return false
}
