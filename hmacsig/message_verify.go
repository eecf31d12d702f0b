package hmacsig

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"math/big"
	"time"
)

// Names of algorithms, RFC 9421 section 6.2.2.
const (
	algHMAC  = "hmac-sha256"
	algEd    = "ed25519"
	algECDSA = "ecdsa-p256-sha256"
)

// MessageProof is a signature that was verified. Only Verify makes one. It
// proves that who has the key signed this request at some time, and nothing yet
// about when, about the body, or how often it was sent.
type MessageProof struct {
	params MessageParams
	digest *ContentDigest
}

// Verify checks that the signature covers what the policy asks for and that the
// key made it for this request, RFC 9421 section 3.2. The key's algorithm is
// used, and the signature may name no other. Errors wrap ErrCoverage, ErrSyntax
// (a component that cannot be), ErrSignature or, of a covered Content-Digest
// that cannot be checked, ErrDigest.
//
// The bytes of a signature must not be used to recognize a replay: of one ECDSA
// signature anybody can make a second one.
func (c *MessageClaim) Verify(k Key, r *Request, p MessagePolicy) (*MessageProof, error) {
	if err := p.check(c, r.ContentLength != 0); err != nil {
		return nil, err
	}
	return c.verify(k, r)
}

func (c *MessageClaim) verify(k Key, r *Request) (*MessageProof, error) {
	if alg := c.params.Alg; alg != "" && alg != k.Algorithm() {
		return nil, mismatch("it names another algorithm than the key's")
	}
	base, err := c.Base(r)
	if err != nil {
		return nil, err
	}
	if !k.verifies(base, c.signature) {
		return nil, ErrSignature
	}
	proof := &MessageProof{params: c.params}
	if c.coversWhole("content-digest") {
		if proof.digest, err = ParseContentDigest(r.Header["Content-Digest"]); err != nil {
			return nil, err
		}
	}
	return proof, nil
}

// verifies checks a signature, RFC 9421 sections 3.3.3 to 3.3.6.
func (k Key) verifies(base []byte, signature string) bool {
	switch k.Algorithm() {
	case algHMAC:
		mac := hmac.New(sha256.New, k.secret)
		mac.Write(base)
		return hmac.Equal(mac.Sum(nil), []byte(signature))
	case algEd:
		return ed25519.Verify(k.ed, base, []byte(signature))
	case algECDSA:
		if len(signature) != 64 {
			return false
		}
		sum := sha256.Sum256(base)
		r := new(big.Int).SetBytes([]byte(signature[:32]))
		s := new(big.Int).SetBytes([]byte(signature[32:]))
		return ecdsa.Verify(k.ec, sum[:], r, s)
	}
	return false
}

// Params returns the parameters, now proven to be the signer's.
func (p *MessageProof) Params() MessageParams { return p.params }

// Fresh checks the signature's time. It is good from when it was created, less
// the skew that the signer's clock may be ahead, until Until. Errors wrap
// ErrStale.
func (p *MessageProof) Fresh(now time.Time, age, skew time.Duration) error {
	if p.params.Created.After(now.Add(skew)) || !now.Before(p.Until(age)) {
		return ErrStale
	}
	return nil
}

// Until returns the end of the signature's life, when it is no longer fresh: its
// age after its creation, or earlier if it says so. Until then its nonce has to
// be remembered.
func (p *MessageProof) Until(age time.Duration) time.Time {
	end := p.params.Created.Add(age)
	if e := p.params.Expires; !e.IsZero() && e.Before(end) {
		return e
	}
	return end
}

// Body returns what verifies the body, or nil if the signature does not cover
// the whole Content-Digest. Each call begins anew.
func (p *MessageProof) Body() *DigestVerifier {
	if p.digest == nil {
		return nil
	}
	return p.digest.Verifier()
}
