package hmacsig

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
)

// maxPublicKey bounds a public key as text.
const maxPublicKey = 4 << 10

// ParsePublicKey reads a public key that someone hands over: PEM with "PUBLIC
// KEY" (RFC 7468), or a JWK (RFC 7517) of kty OKP with Ed25519 or EC with P-256.
// It fails on private keys, so that none is kept by mistake, and its errors
// repeat nothing of the text.
func ParsePublicKey(text []byte) (Key, error) {
	text = bytes.TrimSpace(text)
	switch {
	case len(text) > maxPublicKey:
		return Key{}, errors.New("hmacsig: a public key is no longer than 4096 bytes")
	case bytes.HasPrefix(text, []byte("{")):
		return parseJWK(text)
	}
	block, rest := pem.Decode(text)
	switch {
	case block == nil || !bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return Key{}, errors.New("hmacsig: this is neither PEM nor a JWK")
	case block.Type != "PUBLIC KEY":
		return Key{}, errors.New("hmacsig: the PEM must be of the type PUBLIC KEY; never hand over a private key")
	case len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0:
		return Key{}, errors.New("hmacsig: the PEM must be one public key and nothing else")
	}
	return ParsePublicKeyDER(block.Bytes)
}

// ParsePublicKeyDER reads a public key in the form of PublicDER, and in no other
// encoding of the same key.
func ParsePublicKeyDER(der []byte) (Key, error) {
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Key{}, errors.New("hmacsig: this is no public key in PKIX form")
	}
	k, err := PublicKey(public)
	if err != nil {
		return Key{}, err
	}
	if again, err := k.PublicDER(); err != nil || !bytes.Equal(der, again) {
		return Key{}, errors.New("hmacsig: the public key is not encoded canonically")
	}
	return k, nil
}

// PublicDER returns the public key in PKIX form, the one to keep it in. It fails
// on shared secrets.
func (k Key) PublicDER() ([]byte, error) {
	switch {
	case k.ed != nil:
		return x509.MarshalPKIXPublicKey(k.ed)
	case k.ec != nil:
		return x509.MarshalPKIXPublicKey(k.ec)
	}
	return nil, errors.New("hmacsig: this key is no public key")
}

// Fingerprint returns what people compare public keys by: the SHA-256 of
// PublicDER, in hexadecimal. "openssl pkey -pubin -outform DER | sha256sum"
// prints the same. It is empty for shared secrets, of which it would tell too
// much.
func (k Key) Fingerprint() string {
	der, err := k.PublicDER()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// Algorithm returns the name of the key's algorithm for message signatures, RFC
// 9421 section 6.2.2. It is empty for keys that have none.
func (k Key) Algorithm() string {
	switch {
	case k.ed != nil:
		return algEd
	case k.ec != nil:
		return algECDSA
	case k.secret != nil && !k.legacy:
		return algHMAC
	}
	return ""
}

// jwkPrivate are the members of private and symmetric keys, RFC 7518 section 6.
var jwkPrivate = map[string]bool{
	"d": true, "p": true, "q": true, "dp": true, "dq": true, "qi": true, "oth": true, "k": true,
}

func parseJWK(text []byte) (Key, error) {
	m, err := jwkMembers(text)
	if err != nil {
		return Key{}, err
	}
	if use, ok := m["use"]; ok && use != "sig" {
		return Key{}, errors.New("hmacsig: the JWK is not for signatures")
	}
	alg, hasAlg := m["alg"]
	switch {
	case m["kty"] == "OKP" && m["crv"] == "Ed25519":
		x, err := jwkBytes(m["x"])
		if err != nil {
			return Key{}, err
		}
		if hasAlg && alg != "EdDSA" && alg != "Ed25519" {
			return Key{}, errors.New("hmacsig: the JWK's alg is not of its key")
		}
		return PublicKey(ed25519.PublicKey(x))
	case m["kty"] == "EC" && m["crv"] == "P-256":
		x, errX := jwkBytes(m["x"])
		y, errY := jwkBytes(m["y"])
		if err := errors.Join(errX, errY); err != nil {
			return Key{}, err
		}
		if hasAlg && alg != "ES256" {
			return Key{}, errors.New("hmacsig: the JWK's alg is not of its key")
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return Key{}, errors.New("hmacsig: the JWK's point is not on its curve")
		}
		return PublicKey(public)
	}
	return Key{}, errors.New("hmacsig: a JWK must be of kty OKP with crv Ed25519, or EC with P-256")
}

// jwkMembers reads one JSON object. Members stand once; those that are not
// strings are passed over, since no key is in them.
func jwkMembers(text []byte) (map[string]string, error) {
	malformed := errors.New("hmacsig: the JWK is no single JSON object with unique members")
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, malformed
	}
	seen, members := map[string]bool{}, map[string]string{}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok || seen[name] {
			return nil, malformed
		}
		seen[name] = true
		if jwkPrivate[name] {
			return nil, errors.New("hmacsig: the JWK holds a private or a shared key; hand over the public part only")
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, malformed
		}
		if text, ok := value.(string); ok {
			members[name] = text
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, malformed
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, malformed
	}
	return members, nil
}

// jwkBytes decodes a coordinate: 32 bytes, in base64url's one spelling.
func jwkBytes(text string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != 32 || len(text) != 43 {
		return nil, errors.New("hmacsig: a coordinate of the JWK is no base64url of 32 bytes")
	}
	return raw, nil
}

// lowOrder are the encodings of the points of Ed25519 whose order divides 8, with
// the sign bit off. With such a public key anyone can make signatures.
var lowOrder = map[string]bool{
	"0000000000000000000000000000000000000000000000000000000000000000": true,
	"0100000000000000000000000000000000000000000000000000000000000000": true,
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05": true,
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a": true,
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": true,
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": true,
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": true,
}

func hasLowOrder(public ed25519.PublicKey) bool {
	y := bytes.Clone(public)
	y[31] &= 0x7F
	return lowOrder[hex.EncodeToString(y)]
}
