package hmacsig

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// hawkServer is a server that asks for Hawk: what a caller of this package has
// to do, and a record of what it let pass.
type hawkServer struct {
	*httptest.Server
	keys  map[string]Key
	ring  *NonceRing
	clock time.Duration                            // how far its clock is ahead
	sign  func(*HawkProof, []byte) (string, error) // what to say in Server-Authorization
	serve func(http.ResponseWriter, *http.Request) // behind the gate
	mu    sync.Mutex
	seen  []string // the statuses and, behind the gate, the bodies
}

func newHawkServer(t *testing.T) *hawkServer {
	s := &hawkServer{
		keys: map[string]Key{"dh37fgj492je": hawkTestKey(t)},
		ring: NewNonceRing(NonceLimits{}, time.Time{}),
		sign: func(p *HawkProof, body []byte) (string, error) {
			h := NewHawkHash(p.key, "text/plain")
			_, _ = h.Write(body)
			return p.ServerAuthorization(h, "from the server")
		},
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *hawkServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "body", http.StatusRequestEntityTooLarge)
		return
	}
	proof, status, challenge := s.authenticate(r, body)
	s.note(http.StatusText(status))
	if status != http.StatusOK {
		if challenge != "" {
			w.Header().Set("WWW-Authenticate", challenge)
		}
		http.Error(w, "refused", status)
		return
	}
	s.note(r.Method + " " + r.RequestURI + " " + string(body))
	if s.serve != nil {
		s.serve(w, r)
		return
	}
	answer := append([]byte("you said "), body...)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	value, err := s.sign(proof, answer)
	if err != nil {
		panic(err)
	}
	if value != "" {
		w.Header().Set("Server-Authorization", value)
	}
	_, _ = io.Copy(w, bytes.NewReader(answer))
}

func (s *hawkServer) authenticate(r *http.Request, body []byte) (*HawkProof, int, string) {
	now := time.Now().Add(s.clock)
	signed := &Request{Method: r.Method, Scheme: "http", Authority: r.Host, Target: r.RequestURI, Header: r.Header, ContentLength: r.ContentLength}
	claim, err := ParseHawk(r.Header.Get("Authorization"))
	if errors.Is(err, ErrNotHawk) {
		return nil, http.StatusUnauthorized, HawkChallenge(err)
	}
	if err != nil {
		return nil, http.StatusBadRequest, ""
	}
	key, ok := s.keys[claim.ID()]
	if !ok {
		return nil, http.StatusUnauthorized, HawkChallenge(claim.VerifyUnknown(signed))
	}
	proof, err := claim.Verify(key, signed)
	if errors.Is(err, ErrSyntax) {
		return nil, http.StatusBadRequest, ""
	}
	if err != nil {
		return nil, http.StatusUnauthorized, HawkChallenge(err)
	}
	if err := proof.Fresh(now, HawkSkew); err != nil {
		return nil, http.StatusUnauthorized, proof.StaleChallenge(now)
	}
	payload := proof.Payload()
	_, _ = payload.Write(body)
	if err := payload.Verify(); err != nil {
		return nil, http.StatusUnauthorized, HawkChallenge(err)
	}
	switch err := s.ring.Use(claim.ID(), proof.Second(), proof.Nonce(), now); {
	case errors.Is(err, ErrReplay), errors.Is(err, ErrStale):
		return nil, http.StatusUnauthorized, HawkChallenge(err)
	case err != nil:
		return nil, http.StatusServiceUnavailable, ""
	}
	return proof, http.StatusOK, ""
}

func (s *hawkServer) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, text)
}

// notes returns what was noted, and begins anew.
func (s *hawkServer) notes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}
