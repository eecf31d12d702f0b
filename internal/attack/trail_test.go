package attack

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

// trail is what one may try at the trail of management actions: an action that
// it does not tell, an actor that was another, a secret in it, a change of it.
var trail = []attack{
	{"T01_actions_without_an_entry", func(s *scene) {
		// Clients that leave in the middle, at once, and against each other.
		ids := []string{s.reader.id, s.writer.id, s.admin.id}
		var wait sync.WaitGroup
		for i := range 60 {
			id := ids[i/6%len(ids)]
			request := []string{
				fmt.Sprintf("PATCH /api_keys/keys/%s HTTP/1.1\r\nContent-Length: 22\r\n|{\"purpose\":\"use %04d\"}", id, i),
				"POST /api_keys/keys/" + id + "/suspend?force=true HTTP/1.1\r\nContent-Length: 0\r\n|", "POST /api_keys/keys/" + id + "/resume HTTP/1.1\r\nContent-Length: 0\r\n|",
				"POST /api_keys/keys/" + id + "/credentials HTTP/1.1\r\nContent-Length: 2\r\n|{}", "DELETE /api_keys/keys/" + id + "/credentials/2 HTTP/1.1\r\nContent-Length: 0\r\n|",
				"POST /api_keys/keys/" + id + "/rotate HTTP/1.1\r\nContent-Length: 17\r\n|{\"overlap\":\"24h\"}",
			}[i%6]
			head, body, _ := strings.Cut(request, "|")
			wait.Go(func() {
				conn, err := net.DialTimeout("tcp", s.Admin, 5*time.Second)
				if err != nil {
					s.t.Error(err)
					return
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				_, _ = io.WriteString(conn, head+"Host: "+s.Admin+"\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"+body)
				if i%4 != 0 { // the others are gone before they are answered
					_, _ = io.Copy(io.Discard, conn)
				}
			})
		}
		wait.Wait()
		s.exactlyTold(ids)
		// Methods in other words, and what is refused, leave nothing.
		before := len(s.told(""))
		for _, send := range []struct{ method, path, body string }{
			{"HEAD", "/backup", ""}, {"HEAD", "/keys", ""}, {"GET", "/keys/" + s.reader.id, ""}, {"POST", "/keys/" + s.reader.id, `{}`}, {"PATCH", "/keys/" + s.reader.id, `{"state":"revoked"}`},
			{"DELETE", "/keys/" + s.reader.id, ""}, {"POST", "/import", `{"keys":[]}`}, {"POST", "/identify", `{"token":"x"}`}, {"POST", "/erase", `{}`}, {"POST", "/erase", `{"dry_run":true,"key":"` + s.reader.id + `"}`},
		} {
			s.admins(send.method, send.path, send.body, "X-Http-Method-Override: DELETE", "If-Match: \"999\"")()
		}
		if after := len(s.told("")); after != before {
			s.t.Errorf("refused requests left %d entries", after-before)
		}
	}},
	{"T02_actors_that_are_claimed", func(s *scene) {
		for _, forged := range []string{
			"X-Actor: CN=root\x00", "X-Actor: root\x1b[2J", "X-Actor: root\x7f", "X-Actor: root\xff", "X-Actor: r\u202eoot", "X-Actor: " + strings.Repeat("x", 201),
			"X-Actor: " + strings.Repeat("x", 900<<10), "X-Actor: root\r\nX-Actor: root", "X-Actor: root\rmore", "X-Actor: root\x85", "X-Actor: root\u2028more",
		} {
			before := len(s.told(""))
			answer := s.untyped("POST", "/keys", `{"name":"x"}`, forged, "Content-Type: application/json")()
			if answer.Status < 400 || len(s.told("")) != before {
				s.t.Errorf("%.40q: status %d, %d entries more", forged, answer.Status, len(s.told(""))-before)
			}
		}
		for _, header := range []string{
			"X-Actor: server", "X-Actor: CN=alice sha256:0000000000000000", "X-Actor: \",\"actor\":\"server", "X-Actor: a\\u000ab", "Actor: server", "X_Actor: server", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1",
			"X-Real-IP: 10.0.0.1", "X-Forwarded-User: root", "X-Remote-User: root", "Remote-User: root", "X-Request-Id: mine", "X-SSL-Client-S-DN: CN=root", "X-Forwarded-Client-Cert: Subject=\"CN=root\"",
		} {
			if answer := s.untyped("POST", "/keys", `{"name":"x"}`, header, "Content-Type: application/json")(); answer.Status != http.StatusCreated {
				s.t.Errorf("%s: status %d", header, answer.Status)
			}
			newest := s.told("limit=1")[0]
			claim, claimed := newest["claimed_by"]
			_, said, _ := strings.Cut(header, ": ")
			if newest["actor"] != "loopback" || newest["address"] != "127.0.0.1" || newest["request_id"] == "mine" || strings.HasPrefix(header, "X-Actor") != claimed || claimed && claim != said {
				s.t.Errorf("%s: %v", header, newest)
			}
		}
	}},
	{"T03_secrets_in_the_trail", func(s *scene) {
		secrets := slices.Clone(s.secrets)
		more := func(answer map[string]any) {
			for _, name := range []string{"token", "secret"} {
				if secret, ok := answer[name].(string); ok {
					secrets = append(secrets, secret)
				}
			}
		}
		more(s.Manage("POST", "/keys/"+s.reader.id+"/rotate", "").JSON(s.t))
		more(s.Manage("POST", "/keys/"+s.writer.id+"/credentials", "").JSON(s.t))
		more(s.Manage("POST", "/keys", `{"name":"signer","credential":{"kind":"shared_secret"}}`).JSON(s.t))
		imported := strings.Repeat("An0ldT0ken", 5)
		s.Manage("POST", "/import", `{"keys":[{"name":"old","token":"`+imported+`"}]}`)
		s.Manage("POST", "/identify", `{"token":"`+imported+`","revoke":true}`)
		s.Manage("POST", "/reseal", "")
		s.Manage("GET", "/backup", "")
		s.secrets = append(secrets, imported)
		var shown strings.Builder
		for _, path := range []string{"/audit?limit=500", "/audit?limit=500&trail=calls", "/audit?format=csv", "/audit/verify", "/report?key=" + s.reader.id, "/report?address=127.0.0.1"} {
			shown.Write(s.Manage("GET", path, "").Body)
		}
		text := shown.String() + s.newLogs()
		if !strings.Contains(text, "identify.revoke") || !strings.Contains(text, "key.rotate") {
			s.t.Error("the trail does not tell of it")
		}
		for _, secret := range s.secrets {
			digest := keyring.DigestOf(secret)
			for _, form := range []string{
				secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret),
				hex.EncodeToString(digest[:]), base64.StdEncoding.EncodeToString(digest[:]), base64.RawURLEncoding.EncodeToString(digest[:]),
			} {
				if strings.Contains(text, form) {
					s.t.Error("a secret or its digest is in the trail")
				}
			}
		}
	}},
	{"T04_entries_that_were_changed", func(s *scene) {
		path := s.ownStore()
		for i := range 8 {
			s.key(fmt.Sprintf(`{"name":"key %d","owner":"owner %d"}`, i, i))
		}
		head := s.verified()["head"]
		away := func() { s.Load("", site) } // the file is free
		change := func(seq uint64, edit func(value []byte) []byte) {
			away()
			db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Minute})
			if err != nil {
				s.t.Fatal(err)
			}
			defer db.Close()
			if err := db.Update(func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte("trail"))
				k := []byte{0, 0, 0, 0, 0, 0, 0, byte(seq)}
				value := slices.Clone(b.Get(k))
				return b.Put(k, sealed('t', k, edit(value[:len(value)-8])))
			}); err != nil {
				s.t.Fatal(err)
			}
		}
		replaced := func(old, with string) func([]byte) []byte {
			return func(v []byte) []byte { return bytes.Replace(v, []byte(old), []byte(with), 1) }
		}
		for _, c := range []struct {
			what       string
			seq        uint64
			edit, undo func([]byte) []byte
		}{
			{"who did it", 3, replaced("loopback", "loopfork"), replaced("loopfork", "loopback")},
			{"what was done", 5, replaced("key.create", "key.edited"), replaced("key.edited", "key.create")},
			{"whose it was", 7, replaced("owner 6", "owner 9"), replaced("owner 9", "owner 6")},
			{"the last one", 8, replaced("key.create", "key.edited"), replaced("key.edited", "key.create")},
			{"its hash", 2, func(v []byte) []byte { v[0] ^= 1; return v }, func(v []byte) []byte { v[0] ^= 1; return v }},
		} {
			change(c.seq, c.edit)
			s.useStore(path)
			report := s.verified()
			faults, _ := report["faults"].([]any)
			if report["ok"] != false || len(faults) == 0 || faults[0].(map[string]any)["seq"] != float64(c.seq) {
				s.t.Errorf("%s: %v", c.what, report)
			}
			change(c.seq, c.undo)
		}
		s.useStore(path)
		if report := s.verified(); report["ok"] != true || report["head"] != head {
			s.t.Errorf("as it was: %v", report)
		}
		// An entry that is taken out is missed when the file is opened.
		away()
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Minute})
		if err != nil {
			s.t.Fatal(err)
		}
		if err := db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("trail")).Delete([]byte{0, 0, 0, 0, 0, 0, 0, 4})
		}); err != nil {
			s.t.Fatal(err)
		}
		_ = db.Close()
		if err := s.TryLoad("api_keys {\nstore bolt "+path+"\n}", site); err == nil || !strings.Contains(err.Error(), "bucket trail has 7 of 8 records") {
			s.t.Errorf("a trail without an entry: %v", err)
		}
		s.Load("", site)
	}},
	{"T05_hidden_behind_a_wrong_clock", func(s *scene) {
		path := s.ownStore()
		hidden := s.key(`{"name":"hidden"}`)
		// The machine starts with a wrong clock, as those without one of their own
		// do, and something is done before the clock is set.
		s.Load("", site)
		store, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			s.t.Fatal(err)
		}
		_, err = store.Apply(context.Background(), nil, []audit.Draft{audit.Action{Name: "backup"}.Draft(context.Background(), time.Unix(1000, 0))})
		if err := errors.Join(err, store.Close()); err != nil {
			s.t.Fatal(err)
		}
		s.useStore(path)
		s.key(`{"name":"later"}`)
		for _, query := range []string{"limit=500", "since=24h", "since=24h&action=key.create"} {
			if !strings.Contains(fmt.Sprint(s.told(query)), hidden.id) {
				s.t.Errorf("%s: what was done before is not told", query)
			}
		}
		if report := s.Manage("GET", "/report?since=24h&key="+hidden.id, "").Body; !strings.Contains(string(report), "key.create") {
			s.t.Errorf("the report does not tell what was done before: %s", report)
		}
		s.Load("", site)
	}},
	{"H03_formulas_in_exports", func(s *scene) {
		s.Manage("PUT", "/orgs/formulas", `{"title":"=1+1"}`)
		for _, text := range []string{`=HYPERLINK(\"https://evil.example\",\"x\")`, "+1", "-1", "@SUM(A1:A9)", `=cmd|'/c calc'!A1`, `\",=1+1,\"`, " =1", "'=1"} {
			s.admins("POST", "/keys", `{"name":"`+text+`","owner":"`+text+`","purpose":"`+text+`","org":"formulas","tags":[]}`, "X-Actor: "+strings.ReplaceAll(text, `\"`, `"`))()
		}
		key := s.key(`{"name":"=1","scopes":["read"]}`)
		s.accepted("with a formula for a user agent", s.get("/public/=1+1", key.bearer(), "User-Agent: =1+1"))
		for _, path := range []string{"/audit?format=csv", "/audit?format=csv&trail=calls", "/register?format=csv", "/report?format=csv&key=" + key.id, "/report?format=csv&org=formulas"} {
			answer := s.Manage("GET", path, "")
			if answer.Status != http.StatusOK || answer.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(answer.Header.Get("Content-Disposition"), "attachment") {
				s.t.Errorf("%s: %d %v", path, answer.Status, answer.Header)
			}
			rows, err := csv.NewReader(bytes.NewReader(answer.Body)).ReadAll() // each row has as many cells
			if err != nil || len(rows) == 0 {
				s.t.Errorf("%s: %d rows, %v", path, len(rows), err)
			}
			for _, row := range rows {
				for _, cell := range row {
					if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
						s.t.Errorf("%s: the cell %q is a formula", path, cell)
					}
				}
			}
		}
	}},
}

// told returns up to 500 entries that query selects, newest first.
func (s *scene) told(query string) (entries []map[string]any) {
	s.t.Helper()
	if query == "" {
		query = "limit=500"
	}
	var page struct{ Entries []map[string]any }
	if err := json.Unmarshal(s.Manage("GET", "/audit?"+query, "").Body, &page); err != nil {
		s.t.Fatal(err)
	}
	return page.Entries
}

// verified is what verifying the trail of management actions tells.
func (s *scene) verified() map[string]any {
	s.t.Helper()
	return s.Manage("GET", "/audit/verify", "").JSON(s.t)["management"].(map[string]any)
}

// exactlyTold checks that each revision of some keys has one entry.
func (s *scene) exactlyTold(ids []string) {
	s.t.Helper()
	for _, id := range ids {
		told := make(map[float64]int)
		for _, e := range s.told("limit=500&key=" + id) {
			revision, _ := e["revision"].(float64)
			told[revision]++
		}
		// A request whose client left may end a moment later.
		revision := s.Manage("GET", "/keys/"+id, "").JSON(s.t)["revision"].(float64)
		for deadline := time.Now().Add(time.Minute); len(told) != int(revision) && time.Now().Before(deadline); {
			clear(told)
			for _, e := range s.told("limit=500&key=" + id) {
				told[e["revision"].(float64)]++
			}
			revision = s.Manage("GET", "/keys/"+id, "").JSON(s.t)["revision"].(float64)
		}
		for r := 1.0; r <= revision; r++ {
			if told[r] != 1 {
				s.t.Errorf("revision %v of %s has %d entries", r, id, told[r])
			}
		}
		if len(told) != int(revision) || revision < 4 {
			s.t.Errorf("%d revisions are told, there are %v", len(told), revision)
		}
	}
	if report := s.verified(); report["ok"] != true {
		s.t.Errorf("%v", report)
	}
}

// sealed appends the checksum that the store has behind its records, which
// somebody who can write to the file can make, too.
func sealed(bucket byte, key, payload []byte) []byte {
	table := crc64.MakeTable(crc64.ECMA)
	c := crc64.Update(0, table, []byte{bucket, byte(len(key))})
	c = crc64.Update(c, table, key)
	c = crc64.Update(c, table, payload)
	for shift := 56; shift >= 0; shift -= 8 {
		payload = append(payload, byte(c>>shift))
	}
	return payload
}
