package caddyapikey

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// bewitParam is the query parameter of a bewit.
const bewitParam = "bewit"

// appendHawk appends the Hawk signatures of a request: that of its Authorization
// field, and its bewit, if any is accepted.
func (s *Signature) appendHawk(found []signature, r *http.Request) ([]signature, error) {
	lines := r.Header["Authorization"]
	for _, line := range lines {
		claim, err := hmacsig.ParseHawk(line)
		if errors.Is(err, hmacsig.ErrNotHawk) {
			continue
		}
		if err != nil || len(lines) > 1 {
			return nil, hmacsig.ErrSyntax
		}
		found = append(found, &hawkSignature{s: s, r: signedRequest(r), claim: claim})
	}
	if s.Hawk.Bewit == 0 || r.URL.RawQuery == "" {
		return found, nil
	}
	signed := signedRequest(r)
	claim, err := hmacsig.ParseHawkBewit(signed)
	if errors.Is(err, hmacsig.ErrNotHawk) {
		return found, nil
	}
	if err != nil {
		return nil, hmacsig.ErrSyntax
	}
	return append(found, &bewitSignature{s: s, r: signed, claim: claim}), nil
}

// hawkSignature is a Hawk signature in the Authorization field.
type hawkSignature struct {
	s     *Signature
	r     *hmacsig.Request
	claim hmacsig.HawkClaim
	proof *hmacsig.HawkProof
}

func (h *hawkSignature) keyID() string { return h.claim.ID() }

func (h *hawkSignature) verify(key hmacsig.Key) (err error) {
	h.proof, err = h.claim.Verify(key, h.r, h.s.Authorities...)
	if errors.Is(err, hmacsig.ErrSignature) && h.s.Hawk.SHA1 {
		h.proof, err = h.claim.Verify(key.Legacy(), h.r, h.s.Authorities...)
	}
	return err
}

func (h *hawkSignature) fresh(now time.Time) error {
	return h.proof.Fresh(now, time.Duration(h.s.Skew))
}

func (h *hawkSignature) nonce() (int64, string, bool) {
	return h.proof.Second(), h.proof.Nonce(), true
}

func (h *hawkSignature) body() bodyDigest {
	if !h.proof.HasHash() {
		return nil
	}
	return h.proof.Payload()
}

func (h *hawkSignature) ext() (string, bool) { return h.proof.Ext(), true }

func (h *hawkSignature) base() string {
	text, err := h.claim.NormalizedString(h.r)
	if err != nil {
		return err.Error()
	}
	return text
}

// challenge returns the one challenge of an answer to this request: the
// reference's client cannot read two. A client whose clock is wrong is told the
// time, if it has proven its key.
func (h *hawkSignature) challenge(why *refusal, kr *keyring.Keyring) string {
	switch why {
	case staleSignature:
		if h.proof != nil && kr != nil {
			return h.proof.StaleChallenge(kr.Now())
		}
	case badSignature:
		return hmacsig.HawkChallenge(hmacsig.ErrSignature)
	case unsignedBody:
		return hmacsig.HawkChallenge(hmacsig.ErrCoverage)
	case badDigest:
		return hmacsig.HawkChallenge(hmacsig.ErrDigest)
	case replayed:
		return hmacsig.HawkChallenge(hmacsig.ErrReplay)
	}
	return `Hawk error="Unauthorized"`
}

func (h *hawkSignature) strip(r *http.Request) { delete(r.Header, "Authorization") }

// bewitSignature is a Hawk signature in the URL. It may be used again until it
// expires.
type bewitSignature struct {
	s     *Signature
	r     *hmacsig.Request
	claim hmacsig.HawkBewit
	proof *hmacsig.HawkBewitProof
}

func (b *bewitSignature) keyID() string { return b.claim.ID() }

func (b *bewitSignature) verify(key hmacsig.Key) (err error) {
	b.proof, err = b.claim.Verify(key, b.r, b.s.Authorities...)
	return err
}

func (b *bewitSignature) fresh(now time.Time) error {
	return b.proof.Fresh(now, time.Duration(b.s.Hawk.Bewit))
}

func (b *bewitSignature) nonce() (int64, string, bool) { return 0, "", false }
func (b *bewitSignature) body() bodyDigest             { return nil }
func (b *bewitSignature) ext() (string, bool)          { return b.proof.Ext(), true }
func (b *bewitSignature) base() string                 { return "a bewit, of which the base is not shown" }

// strip removes the bewit from the query, and the Referer, which may repeat it.
func (b *bewitSignature) strip(r *http.Request) {
	source := Source{Kind: SourceQuery, Name: bewitParam}
	f := found{source: &source}
	strip(r, f, []Source{source})
	stripOriginal(r, f)
}
