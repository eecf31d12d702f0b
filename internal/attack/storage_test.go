package attack

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// onAdmin sends lines to the admin endpoint as they are. Behind an empty one
// comes the body.
func (s *scene) onAdmin(line string, headers ...string) rig.Answer {
	s.t.Helper()
	conn, err := net.DialTimeout("tcp", s.Admin, 5*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	text := line + "\r\nConnection: close\r\n" + strings.Join(headers, "\r\n")
	if !strings.Contains(text, "\r\n\r\n") {
		text += "\r\n\r\n"
	}
	_, _ = io.WriteString(conn, text)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return rig.Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}
}

// ownStore loads the site with a fresh store that is not the rig's, and
// returns its path.
func (s *scene) ownStore() string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "store", "keys.db")
	s.useStore(path)
	return path
}

// useStore loads the site with a store.
func (s *scene) useStore(path string) {
	s.t.Helper()
	s.Load(storeOptions(path), site)
}

func storeOptions(path string) string { return "api_keys {\nstore bolt " + path + "\n}" }

// elsewhere loads the usual site with the rig's store, so that the other one is
// closed.
func (s *scene) elsewhere() {
	s.t.Helper()
	s.Load("", site)
}

// refusesStore checks that a configuration with the store is refused with a
// reason, and that the one before goes on serving, and refusing.
func (s *scene) refusesStore(what, path, want string) {
	s.t.Helper()
	if err := s.TryLoad(storeOptions(path), site); err == nil || !strings.Contains(err.Error(), want) {
		s.t.Errorf("%s: %v, want %q", what, err, want)
		s.elsewhere()
	}
	s.accepted(what+": known key", s.get("/public/x", s.reader.bearer()))
	s.refused(what+": no key", s.get("/public/x"), http.StatusUnauthorized)
}
