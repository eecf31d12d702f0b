package attack

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// denying is the site with one more line.
func denying(line string) string {
	return strings.Replace(site, "api_key {", "api_key {\n"+line, 1)
}

// outOfDenyList comes from denied addresses in every way that hides them.
func outOfDenyList(s *scene) {
	denied := func(what string, send func() rig.Answer) {
		s.t.Helper()
		answer := s.refused(what, send, http.StatusForbidden)
		if answer.Reason() != "denied_address" && answer.Reason() != "unknown_address" || answer.Header.Get("WWW-Authenticate") != "" {
			s.t.Errorf("%s: %q, challenge %q", what, answer.Reason(), answer.Header.Get("WWW-Authenticate"))
		}
	}
	good := s.reader.bearer()
	s.Load("", denying("deny 127.0.0.0/8"))
	for _, name := range claims {
		denied("a stranger's "+name, s.get("/public/x", name+": 192.0.2.1", good))
		denied("a stranger's "+name+" to a public path", s.get("/health", name+": 192.0.2.1"))
	}
	for _, global := range []string{trusting, trustingStrict} {
		s.Load(global, "lockout {\nname attack-d31-"+fmt.Sprint(time.Now().UnixNano())+"\non 403 3 in 1m\n}\n"+denying("deny 198.51.100.0/24 2001:db8::/32 10.66.0.1"))
		for _, form := range []string{"198.51.100.7", "::ffff:198.51.100.7", "::ffff:c633:6407", "[::ffff:198.51.100.7]:443", "198.51.100.7:99", "2001:db8::1", "2001:DB8:0:0::1", "[2001:db8::1]:1", "2001:db8::1%eth0", "10.66.0.1"} {
			denied(form, s.get("/public/x", "X-Forwarded-For: "+form, good))
			denied(form+" to a public path", s.get("/health", "X-Forwarded-For: "+form))
			denied(form+" to no rule", s.get("/nowhere", "X-Forwarded-For: "+form))
			denied(form+" in an ambiguous way", s.raw("GET /public/../health HTTP/1.1", "X-Forwarded-For: "+form))
			denied(form+" behind another proxy", s.get("/public/x", "X-Forwarded-For: "+form+", 203.0.113.1", good))
		}
		for _, broken := range []string{"garbage", "", ",", "unknown", "0198.51.100.7", "198.51.100.7/32", "garbage, 127.0.0.1"} {
			denied(fmt.Sprintf("broken %q", broken), s.raw("GET /public/x HTTP/1.1", "X-Forwarded-For: "+broken, good))
		}
		s.accepted("another address", s.get("/public/x", "X-Forwarded-For: 192.0.2.1", good)) // and nobody is locked
		s.accepted("its neighbour", s.get("/public/x", "X-Forwarded-For: 198.51.101.0", good))
		s.accepted("the proxy", s.get("/public/x", good))
	}
	denied("left by the client", s.get("/public/x", "X-Forwarded-For: 192.0.2.1, 198.51.100.7", good)) // strictly
	client, url := s.overH3()
	req, err := http.NewRequest("GET", url+"/public/x", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "198.51.100.7")
	denied("HTTP/3", s.send(client, req))

	s.Load(strings.Replace(trustingStrict, "servers {", "servers {\nprotocols h1 h2c", 1), denying("deny 198.51.100.0/24"))
	head := append(s.head("GET", "/public/x"), lower(good))
	denied("HTTP/2", s.h2(append(head, "x-forwarded-for: 198.51.100.7")...))
	s.accepted("another address over HTTP/2", s.h2(append(head, "x-forwarded-for: 192.0.2.1")...))
}

// damagedDenyLists does everything to the file of a list while it is in force.
func damagedDenyLists(s *scene) {
	path := filepath.Join(s.t.TempDir(), "drop.txt")
	replace := func(text string) {
		s.t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			s.t.Fatal(err)
		}
	}
	eventually := func(what string, is func() bool) {
		s.t.Helper()
		for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				s.t.Fatalf("%s: not so after 30 seconds", what)
			}
		}
	}
	replace("198.51.100.7\n")
	s.Load(trustingStrict, denying("deny "+path))

	// A connection on which an address was served, and is denied from now on.
	conn, err := net.Dial("tcp", s.Site)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	ask := func() int {
		s.t.Helper()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(conn, "GET /health HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: 198.51.100.8\r\n\r\n", s.Site)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	if status := ask(); status != http.StatusOK {
		s.t.Errorf("before: status %d", status)
	}
	replace("198.51.100.7\n198.51.100.8\n")
	eventually("the open connection is refused", func() bool { return ask() == http.StatusForbidden })

	damages := []struct {
		name string
		do   func() error
	}{
		{"removed", func() error { return os.Remove(path) }},
		{"emptied", func() error { return os.WriteFile(path, nil, 0o600) }},
		{"cut off", func() error { return os.WriteFile(path, []byte("192.0.2.1\n198.51.10"), 0o600) }},
		{"garbage", func() error { return os.WriteFile(path, []byte("<!DOCTYPE html>\n"), 0o600) }},
		{"a line without end", func() error { return os.WriteFile(path, []byte(strings.Repeat("1", 1<<20)), 0o600) }},
		{"a device", func() error { os.Remove(path); return os.Symlink("/dev/zero", path) }},
		{"a directory", func() error { os.Remove(path); return os.Mkdir(path, 0o700) }},
		{"ten million lines", func() error {
			os.Remove(path)
			return os.WriteFile(path, []byte(strings.Repeat("192.0.2.1\n", 10_000_000)), 0o600)
		}},
	}
	for _, damage := range damages {
		before := len(s.newLogs())
		if err := damage.do(); err != nil {
			s.t.Fatal(err)
		}
		eventually(damage.name+" is told", func() bool { return strings.Contains(s.newLogs()[before:], "the previous list stays in force") })
		s.refused(damage.name, s.get("/health", "X-Forwarded-For: 198.51.100.7"), http.StatusForbidden)
		if health := s.Manage("GET", "/health", ""); health.Status != http.StatusServiceUnavailable || !strings.Contains(string(health.Body), "deny_list_stale") {
			s.t.Errorf("%s: health %s", damage.name, health.Body)
		}
	}
	replace("198.51.100.9\n")
	eventually("a good list is in force", func() bool {
		return s.Get("/health", "X-Forwarded-For: 198.51.100.9").Status == http.StatusForbidden
	})
	s.accepted("who is no longer denied", s.get("/public/x", "X-Forwarded-For: 198.51.100.7", s.reader.bearer()))
	if health := s.Manage("GET", "/health", ""); health.Status != http.StatusOK {
		s.t.Errorf("health %s", health.Body)
	}
}

// denyListOfRefused has a list that was cut off let in by a configuration that
// never runs.
func denyListOfRefused(s *scene) {
	path := filepath.Join(s.t.TempDir(), "drop.txt")
	var all strings.Builder
	for i := range 200 {
		fmt.Fprintf(&all, "198.51.100.%d\n", i)
	}
	whole := all.String()
	write := func(text string) {
		s.t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	write(whole)
	s.Load(trusting, denying("deny "+path))
	write(whole[:strings.Index(whole, "198.51.100.10\n")])
	last := s.get("/public/x", "X-Forwarded-For: 198.51.100.199", s.reader.bearer())
	shrinks := denying("deny " + path + " {\nmay_shrink\n}")
	if err := s.TryLoad(trusting, shrinks+"\napi_key {\nrequire * read\ndeny ./missing\n}"); err == nil {
		s.t.Error("a configuration with a list that is not there was loaded")
	}
	s.refused("after a configuration that was refused", last, http.StatusForbidden)
	s.Load(trusting, shrinks)
	s.accepted("after one that runs", last)
}

// claimedCertificates claims in headers what only a handshake can prove.
func claimedCertificates(s *scene) {
	fingerprint := strings.Repeat("ab", 32)
	bound := s.key(fmt.Sprintf(`{"name":"bound","scopes":["read"],"client_certs":[%q]}`, fingerprint))
	s.Load(trusting, site)
	for _, line := range []string{
		"X-A: b", "X-Forwarded-Client-Cert: Hash=" + fingerprint, "Client-Cert: :" + fingerprint + ":", "X-SSL-Client-Fingerprint: " + fingerprint,
		"X-SSL-Client-Verify: SUCCESS", "X-Client-Cert-Sha256: " + fingerprint, "Cf-Cert-Presented: true",
	} {
		answer := s.refused(line, s.get("/public/x", bound.bearer(), line), http.StatusForbidden)
		if answer.Reason() != "wrong_certificate" {
			s.t.Errorf("%s: %q", line, answer.Reason())
		}
	}
	client, url := s.overH3()
	req, err := http.NewRequest("GET", url+"/public/x", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", bound.token)
	s.refused("TLS without a certificate", s.send(client, req), http.StatusForbidden)
	for _, list := range []string{`[]`, `null`, `[""]`, `["` + fingerprint[2:] + `"]`, `"` + fingerprint + `"`, `[],"allow_anyone":false`} {
		s.unmanaged(list, "PATCH", "/keys/"+bound.id, `{"client_certs":`+list+`}`, http.StatusBadRequest)
	}
}
