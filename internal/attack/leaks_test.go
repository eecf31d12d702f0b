package attack

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// bewitSite accepts keys and bewits in the query, and sends refusals to error
// routes that proxy.
const bewitSite = `
@open path /open
@free path /free
api_key {
	errors caddy
	deny 198.51.100.0/24
	from bearer
	from query api_key
	signature hawk message {
		hawk {
			bewit 1h
		}
	}
	public   @open
	optional @free
	require  * read
}
reverse_proxy {$UPSTREAM}
handle_errors {
	reverse_proxy {$UPSTREAM} {
		header_up X-Was {http.request.orig_uri}
	}
}`

// bewit returns the target of a request that a bewit lets in, and its text.
func (k signing) bewit(path string) (target, text string) {
	k.s.t.Helper()
	req, err := http.NewRequest("GET", "http://"+k.s.Site+path, nil)
	if err != nil {
		k.s.t.Fatal(err)
	}
	u, err := k.hawk.Bewit(req.URL, time.Now().Add(time.Minute))
	if err != nil {
		k.s.t.Fatal(err)
	}
	_, text, _ = strings.Cut(u.RequestURI(), "bewit=")
	return u.RequestURI(), text
}

// sentOn sends a request and returns what the upstream got of it, by whatever
// route.
func (s *scene) sentOn(what string, send func() rig.Answer) string {
	s.t.Helper()
	before := s.Upstream.Hits()
	send()
	if hits := s.Upstream.Hits() - before; hits != 1 {
		s.t.Fatalf("%s: %d requests reached the upstream, want 1", what, hits)
	}
	return s.Upstream.Last()
}

// inOurLogs looks for the scene's secrets in what we logged ourselves. Caddy logs
// requests as they came in; TestSecretsStayInside proves that only the format
// redact_api_keys takes keys out of those.
func (s *scene) inOurLogs() {
	s.t.Helper()
	for line := range strings.Lines(s.newLogs()) {
		if !strings.HasSuffix(line, "\n") {
			continue // it is being written
		}
		var entry struct{ Logger string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			s.t.Fatal(err)
		}
		if strings.Contains(entry.Logger, "api_key") {
			s.free("our line of the log", []byte(line))
		}
	}
	s.secrets = nil
}

// inFiles looks for the scene's secrets in every file but the log, which has
// those of earlier cases, too.
func (s *scene) inFiles() {
	s.t.Helper()
	err := filepath.WalkDir(s.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path == s.LogPath() {
			return err
		}
		for _, found := range s.finder().Find([]byte(rig.ReadFile(s.t, path))) {
			s.t.Errorf("in %s: %s", filepath.Base(path), found)
		}
		return nil
	})
	if err != nil {
		s.t.Error(err)
	}
}

// leaks are attacks of class I on what is sent beside the key that is used, or
// where no key is asked for.
var leaks = []attack{
	{"I27_unused_signatures_of_refused_and_public_requests", func(s *scene) {
		s.Load(trusting, bewitSite)
		k := s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		const denied = "X-Forwarded-For: 198.51.100.7"
		for _, c := range []struct{ what, path, header string }{
			{"a denied address", "/x?a=1", denied}, {"an ambiguous path", "/y//z?a=1", "X: 1"}, {"early data", "/x?a=1", "Early-Data: 1"}, {"a public route", "/open?a=1", "X: 1"}, {"a key beside it", "/x?a=1", s.reader.bearer()},
		} {
			target, text := k.bewit(c.path)
			got := s.sentOn("a bewit, "+c.what, s.raw("GET "+target+" HTTP/1.1", c.header))
			s.without("a bewit, "+c.what, got, text, "bewit=")
			if !strings.Contains(got, c.path+" HTTP/1.1") {
				s.t.Errorf("a bewit, %s: the rest of the query is lost:\n%s", c.what, s.mask(got))
			}
			if c.header == s.reader.bearer() {
				continue
			}
			k.schemes(func(name string, by hmacsig.Signer) {
				req := k.signed(by, "GET", strings.ReplaceAll(c.path, "//", "/%2e/"), "", time.Now())
				field, value, _ := strings.Cut(c.header, ": ")
				req.Header.Set(field, value)
				got := s.sentOn(name+", "+c.what, s.copyOf(req, ""))
				s.without(name+", "+c.what, got, "\r\nauthorization:", "\r\nsignature:", "\r\nsignature-input:")
			})
		}
		// Each of two would let in without the other.
		both, other := k.signed(k.message, "GET", "/x", "", time.Now()), k.signed(k.message, "GET", "/x", "", time.Now())
		for _, field := range []string{"Signature", "Signature-Input"} {
			label, value, _ := strings.Cut(other.Header.Get(field), "=")
			both.Header.Set(field, both.Header.Get(field)+", "+label+"2="+value)
		}
		s.without("two signatures", s.sentOn("two signatures", s.copyOf(both, "")), "\r\nsignature:", "\r\nsignature-input:")
		// So would a bewit, asked for in another way.
		target, text := k.bewit("/open")
		for what, send := range map[string]func() rig.Answer{
			"no Hawk beside it": s.raw("GET "+target+" HTTP/1.1", "Authorization: Hawk x"), "another login": s.raw("GET "+target+" HTTP/1.1", "Authorization: Basic YTpi"), "another method": s.raw("DELETE "+target+" HTTP/1.1", "X: 1"), "twice": s.raw("GET "+target+"&bewit="+text+" HTTP/1.1", "X: 1"),
		} {
			s.without("a bewit, "+what, s.sentOn("a bewit, "+what, send), text, "bewit=")
		}
		// The upstream's own stay, though nobody here can read them.
		const own = `Signature: keyId="hook",signature="AAAA"`
		if got := s.sentOn("a foreign signature", s.get("/open", own)); !strings.Contains(got, own) {
			s.t.Errorf("a signature that is the upstream's was removed:\n%s", got)
		}
	}},
	{"I28_key_in_the_Referer_of_what_a_page_loads", func(s *scene) {
		s.Load(trusting, bewitSite)
		k := s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		page, text := k.bewit("/page")
		s.secrets = append(s.secrets, text)
		for what, referer := range map[string]string{
			"a key": "/page?a=1&" + s.admin.query(), "an encoded name": "/page?%61pi_key=" + s.admin.token, "another place": "/page?x;api_key=" + s.admin.token, "a bewit": page, "an encoded bewit": strings.Replace(page, "bewit", "%62ewit", 1),
		} {
			referer = "Referer: http://" + s.Site + referer
			for route, send := range map[string]func() rig.Answer{
				"a public route": s.get("/open", referer), "an optional route": s.get("/free", referer), "another key": s.get("/x", referer, s.reader.bearer()), "a refusal": s.get("/x", referer), "a denied address": s.get("/x", referer, "X-Forwarded-For: 198.51.100.7"),
			} {
				s.without(what+" in the Referer, "+route, s.sentOn(what+", "+route, send), text, s.admin.token, "referer")
			}
			signed := k.signed(k.hawk, "GET", "/x", "", time.Now())
			signed.Header.Set("Referer", strings.TrimPrefix(referer, "Referer: "))
			s.without(what+" in the Referer, signed", s.sentOn(what+", signed", s.copyOf(signed, "")), text, s.admin.token, "referer")
		}
		for _, harmless := range []string{"/page?a=1&b=2", "/bewit/api_key", "/page?a=api_key", "/page#api_key=x"} {
			if got := s.sentOn(harmless, s.get("/open", "Referer: http://"+s.Site+harmless)); !strings.Contains(got, "Referer: http://"+s.Site+harmless) {
				s.t.Errorf("a Referer without a key was removed: %s", harmless)
			}
		}
		s.secrets = nil // Caddy logs errors with the request as it came in
	}},
	{"I29_key_written_into_a_field", func(s *scene) {
		s.Load("", behindLockout("i29", "refused 1000 in 1m"))
		secret := withSum(randomBody())
		s.secrets = append(s.secrets, secret, withSum("acme_live"+randomBody()[2:]))
		for _, token := range s.secrets[len(s.secrets)-2:] {
			for _, text := range []string{token, "its token is " + token + ".", "_" + token + "_", "Bearer:" + token} {
				for _, field := range []string{`"name":%q`, `"name":"x","owner":%q`, `"name":"x","purpose":%q`, `"name":"x","metadata":{"old":%q}`, `"name":"x","tags":[%q]`, `"name":"x","org":%q`, `"name":"x","scopes":[%q]`, `"name":"x","tier":%q`, `"name":"x","roles":[%q]`} {
					body := "{" + fmt.Sprintf(field, text) + "}"
					answer := s.unmanaged(s.mask(body), "POST", "/keys", body, http.StatusBadRequest)
					s.free("the answer to "+s.mask(body), answer.Body)
					s.unmanaged("a change to "+s.mask(body), "PATCH", "/keys/"+s.reader.id, body, http.StatusBadRequest)
					s.unmanaged("an import with "+s.mask(body), "POST", "/import", `{"keys":[{"sha256":"`+strings.Repeat("ab", 32)+`",`+body[1:]+`]}`, http.StatusBadRequest)
				}
				s.unmanaged("an org", "PUT", "/orgs/x", fmt.Sprintf(`{"title":%q}`, text), http.StatusBadRequest)
				s.unmanaged("a lock", "POST", "/lockouts", fmt.Sprintf(`{"address":"192.0.2.1","for":"1m","reason":%q}`, text), http.StatusBadRequest)
				body := `{"name":"x"}`
				if answer := s.onAdmin("POST /api_keys/keys HTTP/1.1", "Host: "+s.Admin, "X-Actor: "+text, "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(body)), "", body); answer.Status != http.StatusBadRequest {
					s.t.Errorf("X-Actor: status %d", answer.Status)
				}
			}
		}
		s.inFiles()
		s.inOurLogs()
		// What only looks like one is text like any other.
		s.managed("PATCH", "/keys/"+s.reader.id, `{"purpose":"`+changed(secret, 30)+` and key_01htq9k3sdv7d2w8n4ex"}`)
	}},
	{"I30_key_in_a_path_or_user_agent", func(s *scene) {
		s.load(strings.Replace(site, "require  @read  read", "require  @read  read {\naudit\n}", 1))
		follow, err := http.NewRequest("GET", "http://"+s.Admin+"/api_keys/keys/"+s.reader.id+"/calls?follow=true", nil)
		if err != nil {
			s.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(follow)
		if err != nil {
			s.t.Fatal(err)
		}
		defer resp.Body.Close()
		secret := s.admin.token
		paths := []string{"/public/" + secret, "/public/" + secret + "/x", "/public/x?token=" + secret, "/public/%63k" + secret[2:], "/public/api_key=" + secret, "/public/" + strings.Repeat("x", 200) + "/" + secret}
		agents := []string{secret, "curl (" + secret + ")", "Bearer " + secret, strings.Repeat("x", 100) + secret, "%63k" + secret[2:]}
		for i, path := range paths {
			s.accepted(s.mask(path), s.get(path, s.reader.bearer(), "User-Agent: "+agents[i%len(agents)]))
			s.refused(s.mask(path), s.get(strings.Replace(path, "public", "admin", 1), s.reader.bearer(), "User-Agent: "+agents[i%len(agents)]), http.StatusForbidden)
		}
		lines := json.NewDecoder(resp.Body)
		for range 2 * len(paths) {
			var line json.RawMessage
			if err := lines.Decode(&line); err != nil {
				s.t.Fatal(err)
			}
			s.free("a followed call", line)
		}
		for _, path := range []string{"/keys/" + s.reader.id + "/calls", "/keys/" + s.reader.id + "/usage", "/keys/" + s.reader.id + "/suggest", "/audit?trail=calls&limit=500", "/audit?trail=calls&format=csv", "/register", "/report?key=" + s.reader.id} {
			answer := s.Manage("GET", path, "")
			if answer.Status != http.StatusOK {
				s.t.Errorf("%s: status %d %s", path, answer.Status, answer.Body)
			}
			s.free(path, answer.Body)
		}
		s.free("the metrics", s.adminPage("/metrics").Body)
		s.inFiles()
		if !strings.Contains(s.newLogs(), `"msg":"refused"`) {
			s.t.Error("the refusals are not logged")
		}
		s.inOurLogs()
	}},
	{"I31_key_in_a_trailer_beside_the_used_one", func(s *scene) {
		s.load("@open path /open\napi_key {\nfrom bearer\nfrom header X-API-Key\nfrom cookie key\npublic @open\nrequire * read\n}\nreverse_proxy {$UPSTREAM}")
		for _, line := range []string{s.admin.header(), s.admin.bearer(), "x_api_key: " + s.admin.token, "Cookie: key=" + s.admin.token} {
			name, _, _ := strings.Cut(line, ":")
			for _, target := range []string{"/x", "/open"} {
				send := func(announced string) func() rig.Answer {
					return s.bytes("POST " + target + " HTTP/1.1\r\nHost: " + s.Site + "\r\nConnection: close\r\n" + s.reader.bearer() + "\r\nTrailer: " + announced + "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n" + line + "\r\n\r\n")
				}
				s.refused(name+", announced", send(name), http.StatusBadRequest)
				s.refused(name+", announced among others", send("X-Sum, "+name), http.StatusBadRequest)
				got := s.accepted(name+", behind another", send("X-Sum"))
				s.without(name+", behind another", got, s.admin.token)
				if !strings.Contains(got, "X-Sum: 7") {
					s.t.Errorf("%s: the other trailer is lost:\n%s", name, s.mask(got))
				}
			}
		}
	}},
	{"I32_key_in_what_is_no_request", func(s *scene) {
		token := s.reader.token
		for what, text := range map[string]string{
			"no version": "GET /?api_key=" + token + "\r\n", "another version": "GET /?api_key=" + token + " HTTP/9.9\r\n", "two blanks": "GET  /?api_key=" + token + "  HTTP/1.1\r\n", "the key first": token + "\r\n",
			"no colon": "GET / HTTP/1.1\r\nX-API-Key " + token + "\r\n", "a blank in a name": "GET / HTTP/1.1\r\nX API Key: " + token + "\r\n", "as a method": token + " / HTTP/1.1\r\nHost: " + s.Site + "\r\n", "a bad byte": "GET / HTTP/1.1\r\nX-API-Key: \x00" + token + "\r\n",
			"as a host": "GET / HTTP/1.1\r\nHost: " + token + "\r\n", "as a bad host": "GET / HTTP/1.1\r\nHost: " + token + "@/\r\n", "a bad escape": "GET /%zz?api_key=" + token + " HTTP/1.1\r\nHost: x\r\n", "as a length": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + token + "\r\n",
			"as a coding": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + token + "\r\n", "as a scheme": "GET " + token + "://x/ HTTP/1.1\r\nHost: x\r\n", "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + token + "\r\n", "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + token + "\r\n",
			"as a chunk": "POST /health HTTP/1.1\r\nHost: " + s.Site + "\r\nTransfer-Encoding: chunked\r\n\r\n" + token + "\r\n",
		} {
			s.free("the answer to "+what, []byte(s.Raw(text+"\r\n")))
			s.without(what, s.Upstream.Last(), token)
		}
		s.inOurLogs()
	}},
}
