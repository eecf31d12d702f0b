package hmacsig

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/subtle"
	"errors"
	"fmt"
)

// Key verifies what one credential signed. It holds the algorithm with the key,
// since an algorithm that the request chose could turn a public key into the
// secret of an HMAC (RFC 9421 section 7.3.6). The zero Key verifies nothing.
type Key struct {
	secret []byte // HMAC with SHA-256
	legacy bool   // Hawk with SHA-1
	ed     ed25519.PublicKey
	ec     *ecdsa.PublicKey
}

// MinSecret is the least length of a shared secret, in bytes.
const MinSecret = 16

// SecretKey returns the key of a shared secret, for Hawk with sha256 and for
// hmac-sha256. Its bytes are used as they are; a secret that is passed around
// as text is the bytes of that text. It fails on a secret shorter than
// MinSecret.
func SecretKey(secret []byte) (Key, error) {
	if len(secret) < MinSecret {
		return Key{}, fmt.Errorf("hmacsig: the secret has %d bytes, and at least %d are needed", len(secret), MinSecret)
	}
	return Key{secret: secret}, nil
}

// LegacyHawkKey is SecretKey for clients that can only do Hawk with sha1. It
// verifies no message signatures.
func LegacyHawkKey(secret []byte) (Key, error) {
	k, err := SecretKey(secret)
	k.legacy = true
	return k, err
}

// PublicKey returns the key that verifies signatures by ed25519 or
// ecdsa-p256-sha256. It fails on keys of other kinds and curves.
func PublicKey(public any) (Key, error) {
	switch p := public.(type) {
	case ed25519.PublicKey:
		if len(p) == ed25519.PublicKeySize && !hasLowOrder(p) {
			return Key{ed: p}, nil
		}
	case *ecdsa.PublicKey:
		if p != nil && p.Curve == elliptic.P256() {
			if _, err := p.ECDH(); err == nil { // on the curve
				return Key{ec: p}, nil
			}
		}
	}
	return Key{}, errors.New("hmacsig: a public key must be ed25519 or ECDSA with P-256")
}

// Equal reports whether two keys verify the same signatures. It takes the same
// time for every other secret of one length.
func (k Key) Equal(other Key) bool {
	switch {
	case k.secret != nil:
		return k.legacy == other.legacy && subtle.ConstantTimeCompare(k.secret, other.secret) == 1
	case k.ed != nil:
		return k.ed.Equal(other.ed)
	case k.ec != nil:
		return k.ec.Equal(other.ec)
	}
	return false
}

// Format hides the key from logs, whatever the verb. A key within an unexported
// field is out of its reach: package fmt prints such a field byte by byte.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[key]")) }

// Legacy returns the same secret for Hawk with sha1, see LegacyHawkKey. Of a
// public key it returns the zero Key.
func (k Key) Legacy() Key { return Key{secret: k.secret, legacy: true} }

// String hides the key from logs.
func (Key) String() string { return "[key]" }
