package attack

import (
	"context"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

// same checks that answers cannot be told apart by status, headers or body.
func (s *scene) same(answers map[string]rig.Answer) {
	s.t.Helper()
	var first, text string
	for _, what := range slices.Sorted(maps.Keys(answers)) {
		answer := answers[what]
		answer.Header.Del("Date")
		got := fmt.Sprintf("%d %v %s", answer.Status, answer.Header, answer.Body)
		if first == "" {
			first, text = what, got
		}
		if got != text {
			s.t.Errorf("%s and %s differ:\n%s\n%s", first, what, s.mask(text), s.mask(got))
		}
	}
}

// withSum gives the body of a token its checksum.
func withSum(body string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := []byte("000000")
	for i, n := 5, crc32.ChecksumIEEE([]byte(body)); i >= 0; i, n = i-1, n/62 {
		sum[i] = digits[n%62]
	}
	return body + string(sum)
}

// changed replaces one character.
func changed(text string, i int) string {
	c := "a"
	if text[i] == 'a' {
		c = "b"
	}
	return text[:i] + c + text[i+1:]
}

// discard is a store that keeps nothing.
type discard struct {
	keyring.Store
	cursor  keyring.Cursor
	applied chan keyring.Cursor
}

func (d *discard) Apply(context.Context, []keyring.Mutation, []audit.Draft) (keyring.Cursor, error) {
	d.cursor.Revision++
	d.applied <- d.cursor
	return d.cursor, nil
}

func (d *discard) Snapshot(context.Context, func(keyring.Record) error) (keyring.Cursor, error) {
	return d.cursor, nil
}

func (d *discard) Watch(ctx context.Context, _ keyring.Cursor, fn func(keyring.Batch) error) error {
	for {
		select {
		case cursor := <-d.applied:
			if err := fn(keyring.Batch{Cursor: cursor}); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (*discard) Close() error { return nil }

// oracles is class M: what an answer, its time or a file tells a stranger.
var oracles = []attack{
	{"M01_refusals_that_cannot_be_told_apart", func(s *scene) {
		deleted, revoked := s.key(`{"name":"deleted","scopes":["read"]}`), s.key(`{"name":"revoked","scopes":["read"]}`)
		for _, path := range []string{"POST /keys/" + deleted.id + "/revoke", "POST /keys/" + revoked.id + "/revoke", "DELETE /keys/" + deleted.id} {
			method, path, _ := strings.Cut(path, " ")
			if answer := s.Manage(method, path, ""); answer.Status/100 != 2 {
				s.t.Fatalf("%s: status %d", path, answer.Status)
			}
		}
		live := s.reader.token
		tokens := map[string]string{
			"unknown": withSum("ck_" + strings.Repeat("Zt7Rk2W", 7)[:43]), "malformed": "x", "dots": "a.b.c", "wrong checksum": changed(live, 51), "wrong body": changed(live, 20),
			"wrong body, right checksum": withSum(changed(live[:46], 20)), "deleted": deleted.token, "cut": live[:len(live)-1], "longer": live + "x", "another prefix": "sk" + live[2:],
			"the id": s.reader.id, "the hint": live[:7], "revoked, last character wrong": withSum(changed(revoked.token[:46], 45)), "long": strings.Repeat("x", 600), "capitals": strings.ToUpper(live),
		}
		for _, method := range []string{"GET", "HEAD", "POST"} {
			for _, path := range []string{"/public/x", "/admin/x", "/nowhere", "/news/x"} {
				for _, form := range []string{"Authorization: Bearer %s", "X-API-Key: %s", "?"} {
					answers := make(map[string]rig.Answer)
					for what, token := range tokens {
						if form == "?" {
							answers[what] = s.request(method, path+"?api_key="+token)()
						} else {
							answers[what] = s.request(method, path, fmt.Sprintf(form, token))()
						}
						if status := answers[what].Status; status != http.StatusUnauthorized {
							s.t.Errorf("%s %s, %s: status %d", method, path, what, status)
						}
					}
					s.same(answers)
				}
			}
		}
		if reason := s.Get("/public/x", revoked.bearer()).Reason(); reason != "revoked_key" {
			s.t.Errorf("its owner is told %q", reason)
		}
	}},
	{"M21_signatures_that_cannot_be_told_apart", func(s *scene) {
		k := s.signer(signedSite)
		gone := s.newSigning(`{"name":"gone","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		s.Manage("POST", "/keys/"+gone.id+"/revoke", "")
		s.Manage("DELETE", "/keys/"+gone.id, "")
		revoked := s.newSigning(`{"name":"revoked","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		s.Manage("POST", "/keys/"+revoked.id+"/revoke", "")
		wrong, err := hmacsig.SecretKey([]byte(strings.Repeat("wrong", 10)))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, ago := range []time.Duration{0, time.Hour, -time.Hour} {
			hawk, message := make(map[string]rig.Answer), make(map[string]rig.Answer)
			for what, id := range map[string]string{
				"live": k.id, "deleted": gone.id, "revoked": revoked.id, "never": "key_01htq9k3sdv7d2w8n4ex", "a token's key": s.reader.id, "no id": "someone", "long": strings.Repeat("k", 200),
			} {
				hawk[what] = s.Do(k.signed(&hmacsig.HawkSigner{ID: id, Key: wrong}, "GET", "/x", "", time.Now().Add(-ago)))
				by, err := hmacsig.NewSecretSigner(id, []byte(strings.Repeat("wrong", 10)))
				if err != nil {
					s.t.Fatal(err)
				}
				message[what] = s.Do(k.signed(by, "GET", "/x", "", time.Now().Add(-ago)))
			}
			for _, answers := range []map[string]rig.Answer{hawk, message} {
				for what, answer := range answers {
					if answer.Status != http.StatusUnauthorized {
						s.t.Errorf("%s, %v ago: status %d %s", what, ago, answer.Status, answer.Body)
					}
				}
				s.same(answers)
			}
		}
	}},
	{"M02_timing", func(s *scene) {
		// That they take the same time is R40 of docs/faults.md; here, that the
		// answers are the same.
		live := s.reader.token
		answers := make(map[string]rig.Answer)
		for what, token := range map[string]string{
			"random": withSum("ck_" + strings.Repeat("Zt7Rk2W", 7)[:43]), "near": withSum(changed(live[:46], 45)), "near, wrong checksum": changed(live, 51),
		} {
			answers[what] = s.Do(s.to("GET", "/public/x", "Authorization: Bearer "+token))
			if answers[what].Status != http.StatusUnauthorized {
				s.t.Errorf("%s: status %d", what, answers[what].Status)
			}
		}
		s.same(answers)
	}},
	{"M03_generated_tokens", func(s *scene) {
		kr, err := keyring.Open(s.t.Context(), &discard{applied: make(chan keyring.Cursor)}, keyring.Options{})
		if err != nil {
			s.t.Fatal(err)
		}
		defer kr.Close()
		published := regexp.MustCompile(`^\bck_[0-9A-Za-z]{49}\b$`) // docs/keys.md
		if !strings.Contains(rig.ReadFile(s.t, "../../docs/keys.md"), strings.Trim(published.String(), "^$")) {
			s.t.Error("the expression is not the published one")
		}
		const n = 100_000
		seen, ids := make(map[string]bool, n), make(map[string]bool, n)
		var counts [43][128]int
		for range n {
			key, secret, err := kr.Create(s.t.Context(), keyring.Key{Name: "x"}, keyring.Issue{Prefix: "ck"})
			if err != nil {
				s.t.Fatal(err)
			}
			token := secret.Reveal()
			if seen[token] || ids[key.ID] {
				s.t.Fatal("a token or an id came twice")
			}
			seen[token], ids[key.ID] = true, true
			if !published.MatchString(token) || withSum(token[:46]) != token || !keyring.IsToken(token, "ck") {
				s.t.Fatal("a token has another form")
			}
			for i, c := range []byte(token[3:46]) {
				counts[i][c]++
			}
		}
		for i, count := range counts {
			most := slices.Max(count[:])
			// 256 bits do not fill 43 characters, so the first has few values. Of
			// the others each has 62, so 1,613 ± 40 times.
			if i > 0 && most > 1613+8*40 {
				s.t.Errorf("at place %d one character stands in %d of %d tokens", i, most, n)
			}
		}
	}},
	{"M04_sealed_secrets", func(s *scene) {
		path := s.ownStore()
		var ids []string
		for range 2 {
			k := s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
			ids = append(ids, k.id)
		}
		backup := s.Manage("GET", "/backup", "").Body
		s.elsewhere()
		// A record that is moved as a whole is damaged.
		s.editRecords(path, func(keys *bbolt.Bucket) error {
			a, b := slices.Clone(keys.Get([]byte(ids[0]))), slices.Clone(keys.Get([]byte(ids[1])))
			if err := keys.Put([]byte(ids[0]), b); err != nil {
				return err
			}
			return keys.Put([]byte(ids[1]), a)
		})
		s.useStore(path)
		if health := s.Manage("GET", "/health", ""); !strings.Contains(string(health.Body), "damaged_records") {
			s.t.Errorf("records were swapped: %s", health.Body)
		}
		s.elsewhere()
		// Who can write records with their checksums, but has no master key.
		s.write(path, backup)
		store, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			s.t.Fatal(err)
		}
		a, err := store.Key(s.t.Context(), ids[0])
		if err != nil {
			s.t.Fatal(err)
		}
		b, err := store.Key(s.t.Context(), ids[1])
		if err != nil {
			s.t.Fatal(err)
		}
		a.Credentials[0].Sealed, b.Credentials[0].Sealed = b.Credentials[0].Sealed, a.Credentials[0].Sealed
		a.Revision++
		b.Revision++
		if _, err := store.Apply(s.t.Context(), []keyring.Mutation{{Key: a, IfRevision: a.Revision - 1}, {Key: b, IfRevision: b.Revision - 1}}, []audit.Draft{{Payload: []byte("{}")}}); err != nil {
			s.t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			s.t.Fatal(err)
		}
		s.refusesStore("swapped ciphertexts", path, "the record was changed")
		s.write(path, backup)
		s.write(path+".master_key", []byte(keyring.NewMasterKey().Reveal()))
		s.refusesStore("another master key", path, "sealed with another master key")
	}},
	{"M22_nothing_about_rules_without_a_key", func(s *scene) {
		answers := make(map[string]rig.Answer)
		bad := make(map[string]rig.Answer)
		for _, path := range []string{"/public/x", "/admin/x", "/nowhere", "/admin/", "/health/x", "/.rig/x"} {
			answers[path] = s.Get(path)
			bad[path] = s.Get(path, "Authorization: Bearer nobody")
		}
		s.same(answers)
		s.same(bad)
	}},
	{"M23_state_only_for_the_owner", func(s *scene) {
		for _, c := range []struct{ spec, change, reason string }{
			{`{"name":"suspended","scopes":["read"]}`, "suspend", "suspended_key"}, {`{"name":"revoked","scopes":["read"]}`, "revoke", "revoked_key"},
			{`{"name":"early","scopes":["read"],"not_before":"2090-01-31T12:00:00Z"}`, "", "not_yet_valid"}, {`{"name":"bound","scopes":["read"],"allow":["10.0.0.0/8"]}`, "", "address_not_allowed"},
		} {
			key := s.key(c.spec)
			if c.change != "" {
				s.Manage("POST", "/keys/"+key.id+"/"+c.change, "")
			}
			if reason := s.Get("/public/x", key.bearer()).Reason(); reason != c.reason {
				s.t.Errorf("%s: the owner is told %q", c.reason, reason)
			}
			near := withSum(changed(key.token[:46], 45))
			s.same(map[string]rig.Answer{"near": s.Get("/public/x", "Authorization: Bearer "+near), "unknown": s.Get("/public/x", "Authorization: Bearer nobody")})
		}
	}},
}
