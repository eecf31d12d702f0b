package hmacsig

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"io"
)

// ContentDigest is a Content-Digest field, RFC 9530 section 2: digests of a body
// as it is sent, after content codings and before transfer codings.
type ContentDigest struct {
	sha256, sha512 []byte // nil if not listed
}

// ParseContentDigest reads the field's lines. It knows sha-256 and sha-512, of
// which at least one must be listed; digests by other algorithms are passed
// over. Errors wrap ErrDigest.
func ParseContentDigest(lines []string) (*ContentDigest, error) {
	members, err := parseDictionary(lines)
	if err != nil {
		return nil, fmt.Errorf("%w: Content-Digest is malformed", ErrDigest)
	}
	d := &ContentDigest{}
	for i := range members {
		m := &members[i]
		sum := []byte(m.value.text)
		switch {
		case m.list || m.value.kind != sfBytes || len(m.params) > 0:
			return nil, fmt.Errorf("%w: a digest is no byte sequence", ErrDigest)
		case m.key == "sha-256" && len(sum) == sha256.Size:
			d.sha256 = sum
		case m.key == "sha-512" && len(sum) == sha512.Size:
			d.sha512 = sum
		case m.key == "sha-256" || m.key == "sha-512":
			return nil, fmt.Errorf("%w: a digest has the wrong length", ErrDigest)
		}
	}
	if d.sha256 == nil && d.sha512 == nil {
		return nil, fmt.Errorf("%w: Content-Digest has neither sha-256 nor sha-512", ErrDigest)
	}
	return d, nil
}

// Verifier returns what verifies one body.
func (d *ContentDigest) Verifier() *DigestVerifier {
	v := &DigestVerifier{want: *d}
	if d.sha256 != nil {
		v.sha256 = sha256.New()
	}
	if d.sha512 != nil {
		v.sha512 = sha512.New()
	}
	return v
}

// DigestVerifier takes a body and tells whether it has every digest that was
// listed. It keeps none of it; how much to read, and what to do with it before
// it is verified, is the caller's to decide.
type DigestVerifier struct {
	want           ContentDigest
	sha256, sha512 hash.Hash
}

// Write takes a part of the body. It never fails.
func (v *DigestVerifier) Write(p []byte) (int, error) {
	if v.sha256 != nil {
		v.sha256.Write(p)
	}
	if v.sha512 != nil {
		v.sha512.Write(p)
	}
	return len(p), nil
}

// Verify tells about all that was written so far: nil, or ErrDigest.
func (v *DigestVerifier) Verify() error {
	if v.sha256 != nil && !bytes.Equal(v.sha256.Sum(nil), v.want.sha256) ||
		v.sha512 != nil && !bytes.Equal(v.sha512.Sum(nil), v.want.sha512) {
		return ErrDigest
	}
	return nil
}

// DigestContent returns a Content-Digest field for a body, with sha-256.
func DigestContent(body io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, body); err != nil {
		return "", err
	}
	return string(appendBytes([]byte("sha-256="), string(h.Sum(nil)))), nil
}
