package caddyapikey

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// policy returns what a message signature must cover.
func (s *Signature) policy() hmacsig.MessagePolicy {
	return hmacsig.MessagePolicy{Components: s.Cover}
}

// appendMessage appends the one message signature that names a key of ours.
// Others may belong to whoever else signs or reads the request; where no key is
// known, the first stands for all, so that it is refused like a wrong one.
func (s *Signature) appendMessage(found []signature, r *http.Request, kr *keyring.Keyring) ([]signature, error) {
	claims, err := hmacsig.ParseMessage(r.Header)
	if err != nil {
		return nil, err
	}
	claim, err := s.policy().Choose(claims, kr.Has)
	if errors.Is(err, hmacsig.ErrSignature) {
		claim, err = claims[0], nil
	}
	if err != nil {
		return nil, err
	}
	signed := signedRequest(r)
	if len(s.Authorities) > 0 && !s.names(signed) {
		return nil, hmacsig.ErrSyntax
	}
	return append(found, &messageSignature{s: s, r: signed, claim: claim}), nil
}

// messageSignature is an HTTP Message Signature.
type messageSignature struct {
	s     *Signature
	r     *hmacsig.Request
	claim *hmacsig.MessageClaim
	proof *hmacsig.MessageProof
}

func (m *messageSignature) keyID() string { return m.claim.Params().KeyID }

func (m *messageSignature) verify(key hmacsig.Key) (err error) {
	m.proof, err = m.claim.Verify(key, m.r, m.s.policy())
	return err
}

func (m *messageSignature) fresh(now time.Time) error {
	skew := time.Duration(m.s.Skew)
	return m.proof.Fresh(now, skew, skew)
}

func (m *messageSignature) nonce() (int64, string, bool) {
	p := m.proof.Params()
	return p.Created.Unix(), p.Nonce, true
}

func (m *messageSignature) body() bodyDigest {
	if v := m.proof.Body(); v != nil {
		return v
	}
	return nil // not a nil *DigestVerifier in an interface
}

func (m *messageSignature) ext() (string, bool) { return "", false }

func (m *messageSignature) base() string {
	base, err := m.claim.Base(m.r)
	if err != nil {
		return err.Error()
	}
	return string(base)
}

// strip removes the signature, and those of others with it: their labels say
// nothing about whose they are.
func (m *messageSignature) strip(r *http.Request) {
	delete(r.Header, "Signature")
	delete(r.Header, "Signature-Input")
}
