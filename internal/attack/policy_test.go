package attack

import (
	"net/http"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// load replaces the configuration of the scene.
func (s *scene) load(site string) {
	s.t.Helper()
	s.Load("", site)
}

// reached sends a request by send that must be let in, and checks that the
// upstream got exactly this request line, no token, and the headers that are
// given as whole lines. It returns what the upstream got.
func (s *scene) reached(what string, send func() rig.Answer, line string, headers ...string) string {
	s.t.Helper()
	got := s.accepted(what, send)
	if first, _, _ := strings.Cut(got, "\r\n"); first != line {
		s.t.Errorf("%s: the upstream got %q, want %q", what, s.mask(first), line)
	}
	for _, secret := range s.secrets {
		if strings.Contains(got, secret) {
			s.t.Errorf("%s: a token reached the upstream:\n%s", what, s.mask(got))
		}
	}
	for _, header := range headers {
		if !strings.Contains(got, "\r\n"+header+"\r\n") {
			s.t.Errorf("%s: the upstream did not get %q:\n%s", what, header, got)
		}
	}
	return got
}

// without checks that none of the texts is in what the upstream got, in any
// case.
func (s *scene) without(what, got string, texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		if strings.Contains(strings.ToLower(got), strings.ToLower(text)) {
			s.t.Errorf("%s: the upstream got %q:\n%s", what, s.mask(text), s.mask(got))
		}
	}
}

// everywhere serves a site at any host, on a port of its own, and makes it the
// site of the scene.
func (s *scene) everywhere(site string) {
	s.t.Helper()
	addr := rig.FreeAddr(s.t)
	_, port, _ := strings.Cut(addr, ":")
	s.load("respond 404\n}\nhttp://:" + port + " {\nbind 127.0.0.1\n" + site)
	s.Site = addr
}

// ambiguous is the answer to what two programs can read differently, or to what
// a key does not reach.
var ambiguous = []int{http.StatusBadRequest, http.StatusForbidden}

// unproven is the answer to what is no credential, or more than one.
var unproven = []int{http.StatusBadRequest, http.StatusUnauthorized}
