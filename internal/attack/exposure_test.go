package attack

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// panicker is a handler with a bug, which tells the whole request to the log.
type panicker struct{}

func init() {
	caddy.RegisterModule(panicker{})
	httpcaddyfile.RegisterHandlerDirective("attack_panic", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return panicker{}, nil
	})
}

func (panicker) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.attack_panic", New: func() caddy.Module { return new(panicker) }}
}

func (panicker) ServeHTTP(_ http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	panic(fmt.Sprintf("cannot serve %s %s for %v", r.URL, r.RequestURI, r.Header))
}

// finder looks for the secrets of the scene in every form.
func (s *scene) finder() *rig.Secrets {
	found := new(rig.Secrets)
	for i, secret := range s.secrets {
		found.Add(fmt.Sprintf("secret %d", i), secret)
	}
	return found
}

// free checks that no secret of the scene is in a text, nor its digest.
func (s *scene) free(what string, text []byte) {
	s.t.Helper()
	secrets := s.finder()
	for _, found := range append(secrets.Find(text), secrets.FindDigests(text)...) {
		s.t.Errorf("in %s: %s", what, found)
	}
}

// admin requests a page of Caddy's admin endpoint.
func (s *scene) adminPage(path string) rig.Answer {
	s.t.Helper()
	req, err := http.NewRequest("GET", "http://"+s.Admin+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.Do(req)
}

// exposure is class I: a secret where it does not belong.
var exposure = []attack{
	{"I01_secrets_in_every_output", func(s *scene) {
		k := s.signer(strings.Replace(site, "api_key {", "log {\noutput file "+filepath.Join(s.Dir, "access.log")+"\nformat redact_api_keys\n}\napi_key {", 1))
		rotated := s.Manage("POST", "/keys/"+s.reader.id+"/rotate", `{"overlap":"0s"}`)
		fresh := caller{s.reader.id, rotated.JSON(s.t)["token"].(string)}
		s.secrets = append(s.secrets, fresh.token)
		imported := "Legacy/Tz4Wq8Lr2Xn6Bv0Ks5Jd9Fg3"
		s.secrets = append(s.secrets, imported)
		if answer := s.Manage("POST", "/import", `{"keys":[{"name":"old","scopes":["read"],"token":"`+imported+`"}]}`); answer.Status != http.StatusOK && answer.Status != http.StatusConflict {
			s.t.Fatalf("import: %d", answer.Status)
		}
		s.accepted("rotated in", s.get("/public/x", fresh.bearer()))
		for i, token := range s.secrets {
			for _, path := range []string{"/public/x", "/admin/x", "/nowhere", "/public/../x"} {
				for what, answer := range map[string]rig.Answer{
					"bearer": s.raw("GET "+path+" HTTP/1.1", "Authorization: Bearer "+token)(),
					"header": s.raw("GET "+path+" HTTP/1.1", "X-API-Key: "+token)(),
					"query":  s.raw("GET " + path + "?a=1&api_key=" + strings.ReplaceAll(token, "/", "%2F") + " HTTP/1.1")(),
					"cookie": s.raw("GET "+path+" HTTP/1.1", "Cookie: api_key="+token)(),
				} {
					s.free(fmt.Sprintf("the answer to secret %d as %s at %s", i, what, path), append(fmt.Append(nil, answer.Header), answer.Body...))
				}
			}
			s.free("identify", s.Manage("POST", "/identify", `{"token":"`+token+`"}`).Body)
		}
		for _, path := range []string{"/keys", "/keys/" + k.id, "/keys/" + fresh.id + "/credentials", "/keys?q=reader", "/orgs", "/health", "/openapi.json"} {
			s.free(path, s.Manage("GET", path, "").Body)
		}
		s.free("the metrics", s.adminPage("/metrics").Body)
		s.free("the configuration", s.adminPage("/config/").Body)
		s.free("the log", []byte(s.newLogs()))
		for _, found := range s.finder().Find(s.Manage("GET", "/backup", "").Body) {
			s.t.Errorf("in a backup: %s", found)
		}
		files := 0
		err := filepath.WalkDir(s.Dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || path == s.LogPath() { // of earlier cases too
				return err
			}
			files++
			for _, found := range s.finder().Find([]byte(rig.ReadFile(s.t, path))) {
				s.t.Errorf("in %s: %s", path, found)
			}
			return nil
		})
		if err != nil || files < 3 {
			s.t.Errorf("%d files searched, %v", files, err)
		}
	}},
	{"I02_redirects", func(s *scene) {
		dir := filepath.Join(s.t.TempDir(), "root", "public", "dir")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "index.html"), nil, 0o644); err != nil {
			s.t.Fatal(err)
		}
		policy := site[:strings.Index(site, "reverse_proxy")]
		for what, c := range map[string]struct{ behind, path string }{
			"of a directory":        {"root * " + filepath.Dir(filepath.Dir(dir)) + "\nfile_server", "/public/dir"},
			"by redir behind":       {"redir https://example.com{uri}", "/public/x"},
			"with the query":        {"redir https://example.com/?{query}", "/public/x"},
			"with the original":     {"redir https://example.com{http.request.orig_uri}", "/public/x"},
			"with the original's ?": {"redir https://example.com/?{http.request.orig_uri.query}", "/public/x"},
		} {
			s.load("route {\n" + policy + c.behind + "\n}")
			answer := s.raw("GET " + c.path + "?a=1&" + s.reader.query() + "&b=2 HTTP/1.1")()
			location := answer.Header.Get("Location")
			if answer.Status/100 != 3 || !strings.Contains(location, "a=1&b=2") && what != "of a directory" {
				s.t.Errorf("%s: status %d to %q", what, answer.Status, s.mask(location))
			}
			s.free(what, fmt.Append(answer.Body, answer.Header))
			s.refused(what+", bad key", s.raw("GET "+c.path+"?api_key="+s.reader.token+"x HTTP/1.1"), http.StatusUnauthorized)
		}
		s.load(site)
		s.Upstream.Respond("HTTP/1.1 301 Moved\r\nLocation: /public/x/\r\nContent-Length: 0\r\n\r\n")
		s.free("by the upstream", fmt.Append(nil, s.raw("GET /public/x?"+s.reader.query()+" HTTP/1.1")().Header))
	}},
	{"I04_error_bodies_and_a_panic", func(s *scene) {
		told := func(what string, answer rig.Answer, status int) {
			s.t.Helper()
			if answer.Status != status || answer.Header.Get("Content-Type") != "application/problem+json" || answer.Header.Get("Cache-Control") != "no-store" {
				s.t.Errorf("%s: status %d, %v", what, answer.Status, answer.Header)
			}
			for name := range answer.JSON(s.t) {
				if !strings.Contains("type title status detail check required_scope", name) {
					s.t.Errorf("%s: a field %s", what, name)
				}
			}
			// All that the request says, and all that the server knows of itself.
			text := strings.ToLower(string(answer.Body))
			for _, word := range []string{"echo-me", s.Dir, "keys.db", "bolt", ".go", "goroutine", "v2.", "go1.", s.Upstream.Addr, "srv0", s.bound.id, "bound\"", "10.0.0.0"} {
				if strings.Contains(text, strings.ToLower(word)) {
					s.t.Errorf("%s: the answer says %q: %s", what, word, answer.Body)
				}
			}
			s.free(what, answer.Body)
		}
		told("400", s.raw("GET /public/echo-me/../x?echo-me HTTP/1.1", "X-Echo: echo-me", s.reader.bearer())(), 400)
		told("two keys", s.raw("GET /public/echo-me HTTP/1.1", s.admin.header(), s.reader.bearer())(), 400)
		told("401", s.raw("GET /public/echo-me HTTP/1.1", "X-API-Key: echo-me")(), 401)
		told("401, nearly", s.raw("GET /public/echo-me HTTP/1.1", s.reader.bearer()+"x")(), 401)
		told("403", s.raw("GET /admin/echo-me HTTP/1.1", s.reader.bearer())(), 403)
		told("403, address", s.raw("GET /public/echo-me HTTP/1.1", s.bound.bearer())(), 403)
		told("405", s.raw("ECHO-ME /public/echo-me HTTP/1.1", s.reader.bearer())(), 405)
		s.load("@high expression `int({http.request.uri.query.level}) > 3`\napi_key {\nfrom bearer\nfrom query api_key\nrequire * read\nrequire @high admin\n}\nreverse_proxy {$UPSTREAM}")
		told("503", s.raw("GET /x?level=echo-me HTTP/1.1", s.reader.bearer())(), 503)

		s.load("route {\n" + site[:strings.Index(site, "reverse_proxy")] + "attack_panic\n}")
		for _, send := range []string{
			"GET /public/x HTTP/1.1\r\n" + s.reader.bearer(), "GET /public/x HTTP/1.1\r\n" + s.reader.header(), "GET /public/x?a=1&" + s.reader.query() + " HTTP/1.1\r\nReferer: /?" + s.reader.query(),
		} {
			if answer := s.Raw(send + "\r\nHost: " + s.Site + "\r\nConnection: close\r\n\r\n"); answer != "" {
				s.t.Errorf("a panic is answered: %.100q", s.mask(answer))
			}
		}
		if logs := s.newLogs(); strings.Count(logs, "cannot serve") < 3 {
			s.t.Error("the panics are not in the log")
		}
		s.free("the log of a panic", []byte(s.newLogs()))
	}},
	{"I05_backup", func(s *scene) {
		k := s.signer(site)
		answer := s.Manage("GET", "/backup", "")
		if answer.Status != http.StatusOK || !bytes.Contains(answer.Body, []byte(k.id)) || !strings.Contains(answer.Header.Get("Cache-Control"), "no-store") {
			s.t.Fatalf("backup: status %d, %d bytes, %v", answer.Status, len(answer.Body), answer.Header)
		}
		for _, found := range s.finder().Find(answer.Body) {
			s.t.Errorf("in the backup: %s", found)
		}
		key := rig.ReadFile(s.t, s.StorePath()+".master_key")
		var master rig.Secrets
		master.Add("the master key", strings.TrimSpace(key))
		for _, found := range master.Find(answer.Body) {
			s.t.Errorf("in the backup: %s", found)
		}
		entries, err := os.ReadDir(filepath.Dir(s.StorePath()))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, entry := range entries {
			if name := entry.Name(); !strings.HasPrefix(name, "keys.db") || strings.Contains(name, "backup") {
				s.t.Errorf("a backup left %s behind", name)
			}
			if info, err := entry.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
				s.t.Errorf("%s has mode %v", entry.Name(), info.Mode())
			}
		}
		for _, path := range []string{"/api_keys/backup", "/api_keys/keys", "/backup"} {
			s.refused("site "+path, s.raw("GET "+path+" HTTP/1.1"), http.StatusUnauthorized)
			s.refused("site "+path, s.raw("GET "+path+" HTTP/1.1", s.admin.bearer()), http.StatusForbidden)
		}
		for what, headers := range map[string][]string{
			"another page":   {"Host: " + s.Admin, "Origin: https://evil.example"},
			"a rebound name": {"Host: evil.example"},
			"an image":       {"Host: " + s.Admin, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Origin: null"},
		} {
			if answer := s.onAdmin("GET /api_keys/backup HTTP/1.1", headers...); answer.Status != http.StatusForbidden && answer.Status != http.StatusBadRequest {
				s.t.Errorf("%s: status %d with %d bytes", what, answer.Status, len(answer.Body))
			}
		}
	}},
	{"I06_malformed_management", func(s *scene) {
		secret := `sk_live_4eC39HqLyjWDarjtT1zdp7dcQ`
		s.secrets = append(s.secrets, secret)
		for _, body := range []string{
			`{"token":"` + secret + `"`, `{"token":"` + secret + `",}`, `{"` + secret + `":1}`, `{"token":{"a":"` + secret + `"}}`, `{"token":"` + secret + `","token":"x"}`, `token=` + secret, secret,
			`{"keys":[{"name":"x","tokn":"` + secret + `"}]}`, `{"keys":[{"name":"x","secret":"` + secret + "\xff" + `"}]}`, `{"name":"x","expires_at":"` + secret + `"}`,
			`{"name":"x","credential":{"kind":"` + secret + `"}}`, `{"name":"x","credential":{"kind":"public_key","public_key":"` + secret + `"}}`,
		} {
			for _, path := range []string{"/keys", "/import", "/identify", "/keys/" + s.reader.id + "/rotate"} {
				if answer := s.Manage("POST", path, body); answer.Status/100 != 4 {
					s.t.Errorf("%s to %s: status %d", s.mask(body), path, answer.Status)
				} else {
					s.free("the answer of "+path+" to "+s.mask(body), fmt.Append(answer.Body, answer.Header))
				}
			}
		}
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonp"} {
			body := `{"token":"` + secret + `"}`
			answer := s.onAdmin("POST /api_keys/identify HTTP/1.1", "Host: "+s.Admin, "Content-Type: "+kind, fmt.Sprintf("Content-Length: %d", len(body)), "", body)
			if answer.Status/100 != 4 {
				s.t.Errorf("%s: status %d", s.mask(kind), answer.Status)
			}
			s.free("the answer to "+s.mask(kind), answer.Body)
		}
		s.free("the log", []byte(s.newLogs()))
	}},
	{"I07_files_that_others_reach", func(s *scene) {
		path := s.ownStore()
		_, token := s.Create(`{"name":"x","scopes":["read"]}`)
		s.secrets = append(s.secrets, token)
		for _, file := range []string{path, path + ".master_key"} {
			if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
				s.t.Errorf("%s: %v, %v", file, info.Mode(), err)
			}
		}
		if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
			s.t.Errorf("the directory: %v, %v", info.Mode(), err)
		}
		s.elsewhere()
		for _, c := range []struct {
			what, want  string
			spoil, mend func() error
		}{
			{"a file that others read", "chmod 600", func() error { return os.Chmod(path, 0o644) }, func() error { return os.Chmod(path, 0o600) }},
			{"a symbolic link", "symbolic link", func() error { return swapForLink(path) }, func() error { return os.Rename(path+".real", path) }},
			{"a hard link", "has 2 names", func() error { return os.Link(path, path+".2") }, func() error { return os.Remove(path + ".2") }},
			{"a directory that others write to", "go-w", func() error { return os.Chmod(filepath.Dir(path), 0o777) }, func() error { return os.Chmod(filepath.Dir(path), 0o700) }},
			{"a master key that others read", "chmod 600", func() error { return os.Chmod(path+".master_key", 0o640) }, func() error { return os.Chmod(path+".master_key", 0o600) }},
			{"a master key by a link", "not a regular file", func() error { return swapForLink(path + ".master_key") }, func() error { return os.Rename(path+".master_key.real", path+".master_key") }},
		} {
			if err := c.spoil(); err != nil {
				s.t.Fatal(err)
			}
			s.refusesStore(c.what, path, c.want)
			if err := c.mend(); err != nil {
				s.t.Fatal(err)
			}
		}
		s.useStore(path)
		s.accepted("mended", s.get("/public/x", "Authorization: Bearer "+token))
	}},
	{"I21_debug_pages", func(s *scene) {
		s.accepted("a key in use", s.get("/public/x", s.reader.bearer()))
		for _, path := range []string{"/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/vars", "/config/", "/reverse_proxy/upstreams", "/metrics"} {
			answer := s.adminPage(path)
			if answer.Status != http.StatusOK {
				s.t.Errorf("%s: status %d", path, answer.Status)
			}
			s.free(path, answer.Body)
		}
	}},
	{"I22_master_key_in_the_configuration", func(s *scene) {
		for _, key := range []string{keyring.NewMasterKey().Reveal(), strings.Repeat("5e", 32)} {
			s.secrets = append(s.secrets, key)
			for _, text := range []string{key, "{file.x}" + key, key + "{env.HOME}", "{$NOTHING:" + key + "}"} {
				err := s.TryLoad("api_keys {\nstore bolt "+s.StorePath()+"\nmaster_key "+text+"\n}", site)
				if err == nil {
					s.t.Fatal("a master key in the configuration was taken")
				}
				s.free("the error", []byte(err.Error()))
			}
		}
		s.free("the configuration", s.adminPage("/config/").Body)
		s.accepted("still serving", s.get("/public/x", s.reader.bearer()))
	}},
	{"I23_placeholders_behind_the_handler", func(s *scene) {
		s.load("route {\n" + site[:strings.Index(site, "reverse_proxy")] + "respond \"{header.Authorization}|{header.X-Api-Key}|{query}|{uri}|{http.request.orig_uri}|{http.request.orig_uri.query}|{http.request.uri.query.api_key}|{http.request.orig_uri.query_escaped}|{http.api_key.id}\"\n}")
		for _, send := range []func() rig.Answer{s.raw("GET /public/x HTTP/1.1", s.reader.bearer()), s.raw("GET /public/x HTTP/1.1", s.reader.header()), s.raw("GET /public/x?a=1&" + s.reader.query() + " HTTP/1.1")} {
			answer := send()
			if answer.Status != http.StatusOK || !strings.Contains(string(answer.Body), s.reader.id) {
				s.t.Errorf("status %d: %s", answer.Status, s.mask(string(answer.Body)))
			}
			s.free("placeholders", answer.Body)
		}
	}},
	{"I24_an_upstream_that_fails", func(s *scene) {
		s.load(strings.Replace(site, "{$UPSTREAM}", rig.FreeAddr(s.t), 1))
		for _, header := range []string{s.reader.bearer(), s.reader.header()} {
			if answer := s.raw("GET /public/x HTTP/1.1", header)(); answer.Status != http.StatusBadGateway || len(answer.Body) != 0 {
				s.t.Errorf("status %d: %s", answer.Status, s.mask(string(answer.Body)))
			}
		}
		// The server's own log has the request as it came in; only the format
		// redact_api_keys takes keys out of it. TestSecretsStayInside proves that.
		s.secrets = nil
	}},
	{"I25_shared_secret_sent_as_a_token", func(s *scene) {
		k := s.signer(signedSite)
		for _, header := range []string{"Authorization: Bearer " + k.secret, "X-API-Key: " + k.secret} {
			answer := s.refused(header[:9], s.raw("GET /x HTTP/1.1", header), http.StatusUnauthorized)
			s.free("the answer", fmt.Append(answer.Body, answer.Header))
		}
		s.free("the log", []byte(s.newLogs()))
	}},
}

func swapForLink(path string) error {
	if err := os.Rename(path, path+".real"); err != nil {
		return err
	}
	return os.Symlink(path+".real", path)
}
