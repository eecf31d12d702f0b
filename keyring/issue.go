package keyring

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// Issue says how a new credential is made.
type Issue struct {
	Kind      Kind      // default: a token
	Prefix    string    // of a made token or secret, see ValidateTokenPrefix
	ExpiresAt time.Time // of the credential; zero: as long as the key

	// Of a shared secret: who seals it, and the secret, if it was made
	// elsewhere. Its text is the key of the HMAC, byte for byte.
	Sealer *Sealer
	Secret Secret

	PublicKey []byte // of a public key: PKIX in DER, ed25519 or ECDSA with P-256
}

// secretMark stands between the prefix and the body of a made shared secret, so
// that nobody takes it for a token, and scanners find it like one.
const secretMark = "_sec"

// issue makes a credential and appends it to the key. It returns what only the
// caller may see: the token, or the shared secret; nothing for a public key.
func (k *Keyring) issue(key *Key, in Issue, now time.Time) (Secret, error) {
	if in.Prefix == "" {
		in.Prefix = DefaultTokenPrefix
	}
	if in.Kind != KindPublicKey && in.PublicKey != nil {
		return Secret{}, invalid("public_key", "only a credential of kind public_key has one; write \"kind\": \"public_key\"")
	}
	if in.Kind.Signs() && key.Signing == SigningOff {
		return Secret{}, invalid("signing", "the key's signing is off, so a credential that signs would never be accepted; set \"signing\" to optional or required")
	}
	c := Credential{ExpiresAt: in.ExpiresAt}
	var shown Secret
	var err error
	switch in.Kind {
	case "", KindToken:
		shown, err = k.fillToken(&c, in)
	case KindSharedSecret:
		shown, err = k.fillSharedSecret(&c, in)
	case KindPublicKey:
		err = fillPublicKey(&c, in)
	default:
		err = invalid("kind", "must be token, shared_secret or public_key")
	}
	if err != nil {
		return Secret{}, err
	}
	if err := addCredential(key, c, now); err != nil {
		return Secret{}, err
	}
	if in.Kind == KindSharedSecret {
		added := &key.Credentials[len(key.Credentials)-1]
		added.Sealed = in.Sealer.seal(shown, key.ID, added.N)
	}
	return shown, nil
}

func (k *Keyring) fillToken(c *Credential, in Issue) (Secret, error) {
	token, err := newToken(in.Prefix, k.random)
	if err != nil {
		return Secret{}, err
	}
	c.Kind, c.Hint, c.Digest = KindToken, hint(in.Prefix, token), DigestOf(token.text)
	return token, nil
}

// fillSharedSecret keeps the digest of the secret too: it tells whose a leaked
// one is, that it was sent instead of used, and that no two keys share one. Weak
// secrets are not taken at all: whoever sees one signed request can try them.
func (k *Keyring) fillSharedSecret(c *Credential, in Issue) (Secret, error) {
	if in.Sealer == nil {
		return Secret{}, fmt.Errorf("%w: there is no master key to seal it with", ErrSealed)
	}
	c.Kind = KindSharedSecret
	if in.Secret.IsZero() {
		secret, err := newToken(in.Prefix+secretMark, k.random)
		if err != nil {
			return Secret{}, err
		}
		c.Hint, c.Digest = hint(in.Prefix+secretMark, secret), DigestOf(secret.text)
		return secret, nil
	}
	if err := validateImported("secret", in.Secret.text, in.Prefix+secretMark, true); err != nil {
		return Secret{}, err
	}
	if bits := strength(in.Secret.text); bits < MinTokenBits {
		return Secret{}, invalid("secret", "about %d bits by length and alphabet, at least %d are needed: whoever sees one signed request could guess it; have a new one made", bits, MinTokenBits)
	}
	if _, err := hmacsig.SecretKey([]byte(in.Secret.text)); err != nil {
		return Secret{}, invalid("secret", "%d characters; a secret that signs has at least %d", len(in.Secret.text), hmacsig.MinSecret)
	}
	c.Digest = DigestOf(in.Secret.text)
	return in.Secret, nil
}

func fillPublicKey(c *Credential, in Issue) error {
	if len(in.PublicKey) == 0 {
		return invalid("public_key", "missing; give the public key as PEM or as a JWK")
	}
	key, err := hmacsig.ParsePublicKeyDER(in.PublicKey)
	if err != nil {
		return invalid("public_key", "%s", strings.TrimPrefix(err.Error(), "hmacsig: "))
	}
	c.Kind, c.PublicKey, c.Hint = KindPublicKey, in.PublicKey, "sha256:"+key.Fingerprint()[:16]
	return nil
}

// checkSigning refuses to require signatures from a key that can make none.
func (k *Key) checkSigning(now time.Time) error {
	if k.Signing != SigningRequired {
		return nil
	}
	for i := range k.Credentials {
		if c := &k.Credentials[i]; c.Kind.Signs() && c.Live(now) {
			return nil
		}
	}
	return invalid("signing", "required, and the key has no credential that signs, so nobody could use it; give it one of kind shared_secret or public_key first")
}
