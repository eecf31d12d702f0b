package attack

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
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
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
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

// stop stops the server.
func (s *scene) stop() {
	s.t.Helper()
	if err := caddy.Stop(); err != nil {
		s.t.Fatal(err)
	}
}

// refusesStart checks that the server does not start with the store.
func (s *scene) refusesStart(what, path, want string) {
	s.t.Helper()
	s.stop()
	if err := s.TryLoad(storeOptions(path), site); err == nil || !strings.Contains(err.Error(), want) {
		s.t.Errorf("%s, at start: %v, want %q", what, err, want)
	}
	if conn, err := net.Dial("tcp", s.Site); err == nil {
		conn.Close()
		s.t.Errorf("%s: something serves", what)
	}
	s.elsewhere()
}

func (s *scene) write(path string, content []byte) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// editRecords changes the raw records of keys in a store that is not open.
func (s *scene) editRecords(path string, change func(keys *bbolt.Bucket) error) {
	s.t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(func(tx *bbolt.Tx) error { return change(tx.Bucket([]byte("keys"))) }); err != nil {
		s.t.Fatal(err)
	}
}

// storage is class K: a store or a configuration that fails must open nothing.
var storage = []attack{
	{"K01_stores_that_cannot_be_used", func(s *scene) {
		path := s.ownStore()
		k := s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		good := s.Manage("GET", "/backup", "").Body
		master := []byte(rig.ReadFile(s.t, path+".master_key"))
		s.elsewhere()
		page := os.Getpagesize()
		damaged := bytes.Clone(good)
		clear(damaged[:2*page])
		other := bytes.Clone(good)
		other[16+20] ^= 1
		for what, c := range map[string]struct {
			want    string
			content []byte
			master  string
		}{
			"corrupt":               {"damaged", damaged, string(master)},
			"one flipped meta page": {"damaged", other, string(master)},
			"cut in half":           {"truncated", good[:len(good)/2/page*page], string(master)},
			"another file":          {"is not a store", bytes.Repeat([]byte("keys: none\n"), 999), string(master)},
			"wrong master key":      {"another master key", good, keyring.NewMasterKey().Reveal()},
			"no master key":         {"is missing", good, ""},
			"empty master key":      {"master key", good, " "},
		} {
			s.write(path, c.content)
			s.write(path+".master_key", []byte(c.master))
			if c.master == "" {
				_ = os.Remove(path + ".master_key")
			}
			s.refusesStore(what, path, c.want)
			s.refusesStart(what, path, c.want)
			if left := rig.ReadFile(s.t, path); left != string(c.content) {
				s.t.Errorf("%s: the file was changed", what)
			}
		}
		s.write(path, good)
		s.write(path+".master_key", master)
		held, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			s.t.Fatal(err)
		}
		s.refusesStore("locked", path, "has it open")
		s.refusesStart("locked", path, "has it open")
		_ = held.Close()
		s.useStore(path)
		if got := s.Manage("GET", "/keys/"+k.id, ""); got.Status != http.StatusOK {
			s.t.Errorf("mended: status %d", got.Status)
		}
	}},
	{"K02_empty_file_and_no_file", func(s *scene) {
		path := s.ownStore()
		_, token := s.Create(`{"name":"x","scopes":["read"]}`)
		s.secrets = append(s.secrets, token)
		s.elsewhere()
		s.write(path, nil)
		s.refusesStore("empty", path, "is empty")
		s.refusesStart("empty", path, "is empty")
		if info, err := os.Stat(path); err != nil || info.Size() != 0 {
			s.t.Errorf("the empty file was filled: %v", err)
		}
		// A file that is not there is made: no key is known then, and none is
		// made by itself.
		if err := os.Remove(path); err != nil {
			s.t.Fatal(err)
		}
		s.useStore(path)
		s.refused("a key of the lost store", s.get("/public/x", "Authorization: Bearer "+token), http.StatusUnauthorized)
		s.refused("no key", s.get("/public/x"), http.StatusUnauthorized)
		if keys := s.Manage("GET", "/keys", "").JSON(s.t)["keys"].([]any); len(keys) != 0 {
			s.t.Errorf("%d keys in a new store", len(keys))
		}
	}},
	{"K03_revocation_during_reloads", func(s *scene) {
		for range 8 {
			key := s.key(`{"name":"leaver","scopes":["read"]}`)
			before, err := net.Dial("tcp", s.Site)
			if err != nil {
				s.t.Fatal(err)
			}
			_ = before.SetDeadline(time.Now().Add(time.Minute))
			answers := bufio.NewReader(before)
			ask := func() int { // 0 if the connection is closed
				if _, err := io.WriteString(before, "GET /public/x HTTP/1.1\r\nHost: "+s.Site+"\r\n"+key.bearer()+"\r\n\r\n"); err != nil {
					return 0
				}
				resp, err := http.ReadResponse(answers, nil)
				if err != nil {
					return 0
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				return resp.StatusCode
			}
			if status := ask(); status != http.StatusOK {
				s.t.Fatalf("before: status %d", status)
			}
			loaded := make(chan error, 1)
			go func() { loaded <- s.TryLoad("", site+"\n") }()
			if answer := s.Manage("POST", "/keys/"+key.id+"/revoke", ""); answer.Status != http.StatusOK {
				s.t.Errorf("revoking: status %d", answer.Status)
			}
			for range 5 {
				if status := ask(); status != http.StatusUnauthorized && status != 0 && status != http.StatusServiceUnavailable {
					s.t.Errorf("on an old connection: status %d", status)
				}
				if status := s.Get("/public/x", key.bearer()).Status; status != http.StatusUnauthorized && status != http.StatusServiceUnavailable {
					s.t.Errorf("on another connection: status %d", status)
				}
			}
			if err := <-loaded; err != nil {
				s.t.Fatal(err)
			}
			before.Close()
			s.refused("after it", s.get("/public/x", key.bearer()), http.StatusUnauthorized)
		}
	}},
	{"K04_flipped_bits", func(s *scene) {
		path := s.ownStore()
		good := s.key(`{"name":"good","scopes":["read"]}`)
		var flipped []caller
		for i := range 48 {
			flipped = append(flipped, s.key(fmt.Sprintf(`{"name":"flipped %d","scopes":["read"],"allow":["127.0.0.0/8"],"expires_at":"2090-01-31T12:00:00Z"}`, i)))
		}
		s.elsewhere()
		s.editRecords(path, func(keys *bbolt.Bucket) error {
			for i, key := range flipped {
				value := slices.Clone(keys.Get([]byte(key.id)))
				value[i*len(value)/len(flipped)] ^= 1 << (i % 8)
				if err := keys.Put([]byte(key.id), value); err != nil {
					return err
				}
			}
			return nil
		})
		s.useStore(path)
		for i, key := range flipped {
			s.refused(fmt.Sprintf("record %d", i), s.get("/public/x", key.bearer()), http.StatusUnauthorized)
		}
		s.accepted("untouched", s.get("/public/x", good.bearer()))
		if health := s.Manage("GET", "/health", ""); health.Status != http.StatusServiceUnavailable || !strings.Contains(string(health.Body), "damaged_records") {
			s.t.Errorf("health: status %d %s", health.Status, health.Body)
		}
		if !strings.Contains(s.newLogs(), "damaged") {
			s.t.Error("no alarm in the log")
		}
	}},
	{"K05_imports", func(s *scene) {
		count := func() int { return len(s.Manage("GET", "/keys?q=import", "").JSON(s.t)["keys"].([]any)) }
		before := count()
		entry := `{"name":"import","scopes":["read"],"token":"Gq7Zk2Wm9Xv4Nb6Lr1Pc8Jd3H"}`
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		_, _ = z.Write([]byte(`{"keys":[` + strings.Repeat(" ", 100<<20) + entry + `]}`))
		_ = z.Close()
		for what, body := range map[string]string{
			"version": `{"version":2,"keys":[` + entry + `]}`, "extra field": `{"keys":[{"admin":true,` + entry[1:] + `]}`, "server's field": `{"keys":[{"revision":9,` + entry[1:] + `]}`,
			"twice": `{"keys":[` + entry + `,` + entry + `]}`, "a good one first": `{"keys":[` + entry + `,{"name":"","token":"x"}]}`, "cut off": `{"keys":[` + entry, "path": `{"file":"../../etc/passwd"}`,
			"capitals": `{"KEYS":[` + entry + `]}`, "another document": `{"keys":[` + entry + `]}{"keys":[]}`, "compressed": zipped.String(),
		} {
			headers := []string{"Host: " + s.Admin, "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(body))}
			if what == "compressed" {
				headers = append(headers, "Content-Encoding: gzip")
			}
			if answer := s.onAdmin("POST /api_keys/import HTTP/1.1", append(headers, "", body)...); answer.Status/100 != 4 {
				s.t.Errorf("%s: status %d %s", what, answer.Status, answer.Body)
			}
		}
		if after := count(); after != before {
			s.t.Errorf("%d keys became %d", before, after)
		}
	}},
	{"K21_older_file_put_in_place", func(s *scene) {
		path := s.ownStore()
		key := s.key(`{"name":"leaver","scopes":["read"]}`)
		backup := s.Manage("GET", "/backup", "").Body
		if answer := s.Manage("POST", "/keys/"+key.id+"/revoke", ""); answer.Status != http.StatusOK {
			s.t.Fatalf("revoking: status %d", answer.Status)
		}
		s.write(path+".new", backup)
		if err := os.Rename(path+".new", path); err != nil {
			s.t.Fatal(err)
		}
		s.refused("at once", s.get("/public/x", key.bearer()), http.StatusUnauthorized)
		if answer := s.Manage("POST", "/keys", `{"name":"into nowhere"}`); answer.Status != http.StatusServiceUnavailable {
			s.t.Errorf("a change was written to a file that is gone: status %d", answer.Status)
		}
		s.useStore(path)
		s.refused("after a reload", s.get("/public/x", key.bearer()), http.StatusUnauthorized)
	}},
	{"K22_file_cut_or_removed_while_open", func(s *scene) {
		for what, spoil := range map[string]func(path string) error{
			"cut": func(path string) error { return os.Truncate(path, 4096) }, "emptied": func(path string) error { return os.Truncate(path, 0) }, "removed": os.Remove,
		} {
			path := s.ownStore()
			key := s.key(`{"name":"x","scopes":["read"]}`)
			if err := spoil(path); err != nil {
				s.t.Fatal(err)
			}
			if answer := s.Manage("POST", "/keys/"+key.id+"/revoke", ""); answer.Status != http.StatusServiceUnavailable {
				s.t.Errorf("%s: a revocation that was not kept is answered with %d", what, answer.Status)
			}
			s.accepted(what+": known", s.get("/public/x", key.bearer()))
			s.refused(what+": unknown", s.get("/public/x", key.bearer()+"x"), http.StatusUnauthorized)
			s.refused(what+": none", s.get("/public/x"), http.StatusUnauthorized)
			if health := s.Manage("GET", "/health", ""); health.Status != http.StatusServiceUnavailable {
				s.t.Errorf("%s: health %d", what, health.Status)
			}
			s.elsewhere()
		}
	}},
	{"K23_one_file_by_two_names", func(s *scene) {
		path := s.ownStore()
		key := s.key(`{"name":"x","scopes":["read"]}`)
		s.useStore(filepath.Dir(path) + "/./../store/keys.db")
		s.accepted("another spelling", s.get("/public/x", key.bearer()))
		link := filepath.Join(s.t.TempDir(), "link")
		if err := os.Symlink(filepath.Dir(path), link); err != nil {
			s.t.Fatal(err)
		}
		// Never two stores of one file: the second is either the same or refused.
		if err := s.TryLoad(storeOptions(filepath.Join(link, "keys.db")), site); err != nil && !strings.Contains(err.Error(), "has it open") {
			s.t.Errorf("by a linked directory: %v", err)
		}
		if answer := s.Manage("POST", "/keys/"+key.id+"/revoke", ""); answer.Status != http.StatusOK {
			s.t.Errorf("revoking: status %d", answer.Status)
		}
		s.refused("revoked", s.get("/public/x", key.bearer()), http.StatusUnauthorized)
		s.elsewhere()
		s.useStore(path)
		s.refused("revoked, opened again", s.get("/public/x", key.bearer()), http.StatusUnauthorized)
	}},
	{"K24_another_store_at_a_reload", func(s *scene) {
		s.ownStore()
		s.refused("a key of the store before", s.get("/public/x", s.reader.bearer()), http.StatusUnauthorized)
		key := s.key(`{"name":"x","scopes":["read"]}`)
		s.elsewhere()
		s.refused("a key of the other store", s.get("/public/x", key.bearer()), http.StatusUnauthorized)
		s.accepted("back", s.get("/public/x", s.reader.bearer()))
	}},
	{"K25_paths_that_are_no_files", func(s *scene) {
		for _, path := range []string{"/dev/null", "/dev/zero", "/proc/self/mem", s.t.TempDir(), "/proc/self/fd/0", "/dev/null/keys.db", ""} {
			if err := s.TryLoad("api_keys {\nstore bolt \""+path+"\"\n}", site); err == nil && path != "" {
				s.t.Errorf("%q was taken for a store", path)
				s.elsewhere()
			}
		}
		s.elsewhere()
		s.accepted("still serving", s.get("/public/x", s.reader.bearer()))
	}},
	{"K26_removed_from_the_configuration", func(s *scene) {
		for what, bad := range map[string]string{
			"a rule without scopes in quotes": strings.Replace(site, "require  @admin admin", "require @admin \"\"", 1),
			"a matcher that is not there":     strings.Replace(site, "require  @admin admin", "require @nobody admin", 1),
			"a rule of nothing":               strings.Replace(site, "require  @admin admin", "require", 1),
			"a relaxation that is not there":  strings.Replace(site, "api_key {", "api_key {\nrelax everything", 1),
			"a mode that is not there":        strings.Replace(site, "api_key {", "api_key {\nmode off", 1),
			"no place for a key":              strings.Replace(site, "from bearer", "from", 1),
			"a role without scopes":           "",
		} {
			global := ""
			if bad == "" {
				global, bad = "api_keys {\nstore bolt "+s.StorePath()+"\nrole reader\n}", site
			}
			if err := s.TryLoad(global, bad); err == nil {
				s.t.Errorf("%s: taken", what)
				s.elsewhere()
			}
			s.refused(what, s.get("/admin/x"), http.StatusUnauthorized)
			s.refused(what, s.get("/admin/x", s.reader.bearer()), http.StatusForbidden)
		}
	}},
}
