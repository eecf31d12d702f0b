package caddyapikey

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// policy returns what a message signature must cover.
func (s *Signature) policy() hmacsig.MessagePolicy {
	return hmacsig.MessagePolicy{Components: s.Cover}
}

// appendMessage appends the one message signature whose key id has the form of
// ours. Others may belong to whoever else signs or reads the request; where none
// has it, the first stands for all, so that it is refused like a wrong one.
// Whether there is such a key must make no difference: who adds a signature to
// his own would be told.
func (s *Signature) appendMessage(found []signature, r *http.Request) ([]signature, error) {
	claims, err := hmacsig.ParseMessage(r.Header)
	if err != nil {
		return nil, err
	}
	claim, err := s.policy().Choose(claims, keyring.ValidKeyID)
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
	text := maskFields(string(base))
	if id := m.keyID(); id != "" && !keyring.ValidKeyID(id) {
		text = strings.ReplaceAll(text, id, shownKeyID(id))
	}
	return text
}

// maskFields hides the values of covered fields in a signature base, of which
// some, such as Cookie, are secrets; their length tells most disagreements.
func maskFields(base string) string {
	lines := strings.Split(base, "\n")
	for i, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case strings.HasPrefix(name, `"@`):
		case name == `"content-digest"`, name == `"content-type"`, name == `"content-length"`, name == `"date"`:
		default:
			lines[i] = fmt.Sprintf("%s: [%d bytes]", name, len(value))
		}
	}
	return strings.Join(lines, "\n")
}

// strip removes the signature, and those of others with it: their labels say
// nothing about whose they are.
func (m *messageSignature) strip(r *http.Request) {
	delete(r.Header, "Signature")
	delete(r.Header, "Signature-Input")
}
