package attack

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// ruined is a server with a store of its own whose files are spoilt while it is
// stopped.
type ruined struct {
	s       *scene
	path    string // of the store
	lock    string // of the locks
	site    string
	used    *http.Request // signed, and let in once
	spender caller        // has spent its limit
	k       signing
	month   time.Month // of the limit
}

// ruin starts a server, uses up a signature and a quota, and has an address locked.
func (s *scene) ruin(name string) ruined {
	s.t.Helper()
	r := ruined{s: s, path: filepath.Join(s.t.TempDir(), "store", "keys.db"), month: time.Now().UTC().Month()}
	name = fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
	r.lock = filepath.Join(caddy.AppDataDir(), "lockouts", name)
	r.site = "lockout {\nname " + name + "\non refused 3 in 1h\n}\n" + strings.Replace(site, "@admin admin", "@admin admin {\naudit\n}", 1)
	s.Load(trustingStrict+"\n"+storeOptions(r.path), r.site)
	r.k = s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
	s.admin = s.key(`{"name":"administrator","scopes":["admin"]}`)
	s.reader = s.key(`{"name":"reader","scopes":["read"]}`)
	r.spender = s.key(`{"name":"spender","scopes":["read"],"limits":["2/month"]}`)
	r.used = r.k.signed(r.k.message, "GET", "/public/x", "", time.Now())
	s.accepted("signed", s.copyOf(r.used, ""))
	s.accepted("of a quota", s.get("/public/x", r.spender.bearer()))
	s.accepted("the rest of a quota", s.get("/public/x", r.spender.bearer()))
	for range 3 {
		s.refused("a guess", s.get("/public/x", "X-Forwarded-For: 192.0.2.9", "X-API-Key: nobody"), http.StatusUnauthorized)
	}
	s.refused("locked", s.get("/public/x", "X-Forwarded-For: 192.0.2.9", s.reader.bearer()), http.StatusTooManyRequests)
	s.stop()
	return r
}

// nonces is the file of used nonces.
func (r *ruined) nonces() string {
	r.s.t.Helper()
	found, err := filepath.Glob(r.path + ".nonces.*")
	if err != nil || len(found) != 1 {
		r.s.t.Fatalf("files of nonces: %q, %v", found, err)
	}
	return found[0]
}

// restarts starts the server again and checks that it serves, and that nothing
// which was spent can be spent again.
func (r *ruined) restarts(what string) {
	s := r.s
	s.t.Helper()
	if err := s.TryLoad(trustingStrict+"\n"+storeOptions(r.path), r.site); err != nil {
		s.t.Fatalf("%s: it does not start: %v", what, err)
	}
	s.accepted(what+": a key", s.get("/public/x", s.reader.bearer()))
	s.refused(what+": no key", s.get("/public/x"), http.StatusUnauthorized)
	s.refused(what+": a signature that was used", s.copyOf(r.used, ""), http.StatusUnauthorized, http.StatusServiceUnavailable)
	if answer := s.Get("/public/x", r.spender.bearer()); answer.Status != http.StatusTooManyRequests && answer.Status != http.StatusServiceUnavailable && time.Now().UTC().Month() == r.month {
		s.t.Errorf("%s: a quota that was spent: status %d", what, answer.Status)
	}
}

// spoilt checks that whoever asks is told what is wrong.
func (r *ruined) spoilt(what string, reasons ...string) {
	s := r.s
	s.t.Helper()
	health := s.Manage("GET", "/health", "")
	for _, reason := range reasons {
		if health.Status != http.StatusServiceUnavailable || !strings.Contains(string(health.Body), reason) {
			s.t.Errorf("%s: health does not tell %s: %d %s", what, reason, health.Status, health.Body)
		}
	}
}

// ruins are attacks of class K on what stands beside the store, and on
// configurations with holes.
var ruins = []attack{
	{"K27_damaged_files_beside_the_store", func(s *scene) {
		r := s.ruin("k27")
		files := map[string]string{"nonces": r.nonces(), "quotas": r.path + ".quotas", "ledger": r.path + ".ledger", "locks": r.lock}
		good := make(map[string][]byte)
		for name, file := range files {
			good[name] = []byte(rig.ReadFile(s.t, file))
		}
		r.restarts("whole")
		s.refused("whole: locked", s.get("/public/x", "X-Forwarded-For: 192.0.2.9", s.reader.bearer()), http.StatusTooManyRequests)
		lost := 0
		for what, spoil := range map[string]func(b []byte) []byte{
			"empty": func([]byte) []byte { return nil }, "garbage": func(b []byte) []byte { return []byte(strings.Repeat("lost ", 3000)) }, "cut": func(b []byte) []byte { return b[:len(b)/2] },
			"a flipped bit": func(b []byte) []byte { b[min(len(b)-1, 30)] ^= 4; return b }, "more behind it": func(b []byte) []byte { return append(b, b...) },
			"as long as a disk": func(b []byte) []byte { return []byte("\x00") },
		} {
			s.stop()
			for name, file := range files {
				s.write(file, spoil(append([]byte(nil), good[name]...)))
				if what == "as long as a disk" { // with a hole in it
					if err := os.Truncate(file, 1<<40); err != nil {
						s.t.Logf("this file system has no files of that size: %v", err)
					}
				}
			}
			r.restarts(what)
			switch what {
			case "more behind it", "cut": // the quotas' file may just end early, as after a crash
				r.spoilt(what)
			case "a flipped bit": // a ledger has room that means nothing
				r.spoilt(what, "quotas_unwritten")
			default:
				r.spoilt(what, "quotas_unwritten", "use_unrecorded")
				s.refused(what+": a call that must be recorded", s.get("/admin/x", s.admin.bearer()), http.StatusServiceUnavailable)
			}
			if lost++; strings.Count(s.newLogs(), "locks of before the start are lost") != lost {
				s.t.Errorf("%s: nothing is logged of lost locks", what)
			}
		}
	}},
	{"K28_pipes_and_links_in_place_of_files", func(s *scene) {
		r := s.ruin("k28")
		victim := filepath.Join(s.t.TempDir(), "victim")
		for what, put := range ruinous(victim) {
			nonces := r.nonces()
			for _, file := range []string{nonces, r.path + ".quotas", r.lock} {
				_ = os.RemoveAll(file + ".damaged")
				for _, at := range []string{file, file + ".new"} {
					if err := os.RemoveAll(at); err != nil {
						s.t.Fatal(err)
					}
					s.write(victim, []byte("victim"))
					if err := put(at); err != nil {
						s.t.Fatal(err)
					}
				}
			}
			r.restarts(what)
			r.spoilt(what, "quotas_unwritten")
			for range 3 { // the locks are written
				s.get("/public/x", "X-Forwarded-For: 192.0.2.10", "X-API-Key: nobody")()
			}
			s.refused(what+": locked", s.get("/public/x", "X-Forwarded-For: 192.0.2.10", s.reader.bearer()), http.StatusTooManyRequests)
			s.stop()
			if text := rig.ReadFile(s.t, victim); text != "victim" {
				s.t.Errorf("%s: what a link led to is %q", what, text)
			}
			if info, err := os.Lstat(r.nonces()); err != nil || !info.Mode().IsRegular() {
				s.t.Errorf("%s: the nonces were not saved: %v", what, err)
			}
		}
		s.elsewhere()
	}},
	{"K29_holes_in_the_native_configuration", func(s *scene) {
		policy := strings.Replace(site, "api_key {", "api_key {\nname holes\ncors\ndeny 198.51.100.0/24\nsignature hawk message", 1)
		config, err := rig.Adapt(strings.ReplaceAll("{\nadmin "+s.Admin+"\nauto_https disable_redirects\npersist_config off\nlog default {\noutput file "+s.LogPath()+"\nlevel DEBUG\n}\napi_keys {\nstore bolt "+s.StorePath()+
			"\nrole r read\ntier gold {\nlimit 1000/1h\n}\nretain calls 30d\n}\n}\nhttp://"+s.Site+" {\nbind 127.0.0.1\n"+policy+"\n}\n", "{$UPSTREAM}", s.Upstream.Addr))
		if err != nil {
			s.t.Fatal(err)
		}
		tried, taken := 0, 0
		for at := 0; ; at++ {
			for _, hole := range []any{nil, "empty"} {
				var tree any
				if err := json.Unmarshal(config, &tree); err != nil {
					s.t.Fatal(err)
				}
				what, ok := punch(tree, at, hole)
				if !ok {
					if tried < 80 || taken == tried {
						s.t.Errorf("%d holes were tried, %d taken", tried, taken)
					}
					return
				}
				tried++
				text, err := json.Marshal(tree)
				if err != nil {
					s.t.Fatal(err)
				}
				if caddy.Load(text, true) == nil { // otherwise the configuration before goes on
					taken++
				}
				what = fmt.Sprintf("%s is %v", what, hole)
				s.refused(what+": no key", func() rig.Answer { return s.Get("/admin/x") }, http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest)
				s.refused(what+": a bad key", func() rig.Answer { return s.Get("/admin/x", s.reader.bearer()+"x") }, http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest)
			}
		}
	}},
	{"K30_clock_set_back_over_a_restart", func(s *scene) {
		r := s.ruin("k30")
		// The clock was an hour ahead for a while: what was used before has been
		// forgotten, since it could not be used any more.
		window, err := time.ParseDuration(strings.TrimPrefix(r.nonces(), r.path+".nonces."))
		if err != nil {
			s.t.Fatal(err)
		}
		limits, now := hmacsig.NonceLimits{Window: window}, time.Now()
		file, err := os.Open(r.nonces())
		if err != nil {
			s.t.Fatal(err)
		}
		ring, err := hmacsig.LoadNonceRing(limits, file)
		file.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		if err := ring.Use(r.k.id, now.Unix()+3600, "later", now.Add(time.Hour)); err != nil {
			s.t.Fatal(err)
		}
		saved, err := os.Create(r.nonces())
		if err == nil {
			err = ring.Save(saved)
			saved.Close()
		}
		if err != nil {
			s.t.Fatal(err)
		}
		r.restarts("an hour back")
		if reason := s.copyOf(r.used, "")().Reason(); reason != "nonces_unknown" && reason != "stale_signature" {
			s.t.Errorf("a signature of a time that was forgotten: %q", reason)
		}
		// What is not yet valid, or has expired, by the clock as it is now.
		for what, spec := range map[string]string{"not_before": `"not_before"`, "expires_at": `"expires_at"`} {
			at := now.Add(30 * time.Minute)
			if what == "expires_at" {
				at = now.Add(24 * time.Hour)
			}
			key := s.key(`{"name":"x","scopes":["read"],` + spec + `:` + strconv.Quote(at.UTC().Format(time.RFC3339)) + `}`)
			want := map[string]int{"not_before": http.StatusUnauthorized, "expires_at": http.StatusOK}[what]
			if answer := s.Get("/public/x", key.bearer()); answer.Status != want {
				s.t.Errorf("%s: status %d, want %d", what, answer.Status, want)
			}
		}
	}},
}

// punch makes a hole at the n-th value of the api_key handler and of the app,
// and names it. What a public or optional rule is about may not be one: a rule
// without matchers is about all requests, as it is documented.
func punch(tree any, n int, hole any) (name string, ok bool) {
	var walk func(path string, value any, inside bool, set func(any))
	walk = func(path string, value any, inside bool, set func(any)) {
		if ok {
			return
		}
		if inside {
			if n == 0 {
				name, ok = path, true
				set(emptied(value, hole))
				return
			}
			n--
		}
		switch node := value.(type) {
		case map[string]any:
			open := inside && (node["access"] == "public" || node["access"] == "optional")
			for _, key := range slices.Sorted(maps.Keys(node)) {
				if open && (key == "match" || key == "access") {
					continue
				}
				walk(path+"."+key, node[key], inside || node["handler"] == "api_key" && key != "handler" || key == "api_keys" && path == ".apps", func(v any) { node[key] = v })
			}
		case []any:
			for i := range node {
				walk(path+"["+strconv.Itoa(i)+"]", node[i], inside, func(v any) { node[i] = v })
			}
		}
	}
	walk("", tree, false, func(any) {})
	return name, ok
}

// emptied is null, or nothing of the same type.
func emptied(value, hole any) any {
	if hole == nil {
		return nil
	}
	switch value.(type) {
	case map[string]any:
		return map[string]any{}
	case []any:
		return []any{}
	case string:
		return ""
	case bool:
		return false
	}
	return 0
}
