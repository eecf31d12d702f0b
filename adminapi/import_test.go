package adminapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

const legacyToken = "Zx81kQ0vPq7TnB3mWcY5rLd9"

func TestImport(t *testing.T) {
	s := newServer(t)
	digest := sha256.Sum256([]byte("another-legacy-token-0123456789"))
	entries := `[{"name":"one","scopes":["a:read"],"token":"` + legacyToken + `"},{"name":"two","sha256":"` + hex.EncodeToString(digest[:]) + `"}]`
	s.do("POST", "import", `{"keys":`+entries+`,"dry_run":true}`).want(200).is(`true`, "dry_run").is(`2`, "would_import")
	s.do("GET", "keys", "").want(200).is(`[]`, "keys")
	a := s.do("POST", "import", `{"dry_run":false,"keys":`+entries+`}`).want(200).is(`2`, "imported")
	s.do("GET", "keys/"+a.text("ids", 0), "").want(200).is(`"one"`, "name").is(`""`, "credentials", 0, "hint")
	s.do("GET", "keys/"+a.text("ids", 1), "").want(200).is(`"two"`, "name")
	s.do("POST", "identify", `{"token":"another-legacy-token-0123456789"}`).want(200).is(`"`+a.text("ids", 1)+`"`, "key", "id")

	s.do("POST", "import", `{"keys":[{"name":"new","token":"`+legacyToken+`0"},{"name":"taken","token":"`+legacyToken+`"}]}`).problem(409, "already-exists", "keys[1]")
	s.do("POST", "import", `{"dry_run":true,"keys":[{"name":"taken","token":"`+legacyToken+`"}]}`).problem(409, "already-exists", "keys[0]")
	s.do("POST", "identify", `{"token":"`+legacyToken+`0"}`).problem(404, "not-found", "") // whole or nothing
	s.do("POST", "import", `{"keys":[{"name":"weak","token":"hunter2"}]}`).problem(400, "invalid-field", "keys[0].token")
	s.do("POST", "import", `{"keys":[{"name":"weak","token":"hunter2","allow_weak":true}]}`).want(200)
}

func TestImportRefusals(t *testing.T) {
	s := newServer(t)
	good := `{"name":"x","token":"` + legacyToken + `"}`
	for body, field := range map[string]string{
		`{}`:                                    "keys",
		`{"keys":[]}`:                           "keys",
		`{"keys":null}`:                         "keys",
		`{"keys":{}}`:                           "keys",
		`{"keys":[null]}`:                       "keys[0]",
		`{"keys":["x"]}`:                        "keys[0]",
		`{"keys":[` + good + `,[]]}`:            "keys[1]",
		`{"keys":[` + good + `],"dryrun":true}`: "dryrun",
		`{"keys":[` + good + `],"dry_run":"yes"}`:                                                           "dry_run",
		`{"keys":[` + good + `],"dry_run":null}`:                                                            "dry_run",
		`{"dry_run":true,"keys":[` + good + `],"dry_run":false}`:                                            "dry_run",
		`{"keys":[` + good + `],"keys":[]}`:                                                                 "keys",
		`{"keys":[` + good + `],"dry_run":true,"dry_run":true}`:                                             "dry_run",
		`{"keys":[` + good + `,{"name":"x","token":"` + legacyToken + `"}]}`:                                "keys[1].token",
		`{"keys":[{"name":"x"}]}`:                                                                           "keys[0].token",
		`{"keys":[{"name":"x","token":"` + legacyToken + `","sha256":"` + strings.Repeat("ab", 32) + `"}]}`: "keys[0].token",
		`{"keys":[{"name":"x","sha256":"ab"}]}`:                                                             "keys[0].sha256",
		`{"keys":[{"name":"x","sha256":"` + strings.Repeat("xy", 32) + `"}]}`:                               "keys[0].sha256",
		`{"keys":[{"name":"x","sha256":"` + strings.Repeat("00", 32) + `"}]}`:                               "keys[0].sha256",
		`{"keys":[{"name":"x","token":"` + legacyToken + `","roles":["nobody"]}]}`:                          "keys[0].roles[0]",
		`{"keys":[{"name":"x","token":"` + legacyToken + `","allow":["10.0.0.1/8"]}]}`:                      "keys[0].allow[0]",
		`{"keys":[{"name":"x","token":"` + legacyToken + `","id":"key_1"}]}`:                                "keys[0].id",
		`{"keys":[{"name":"x","name":"y","token":"` + legacyToken + `"}]}`:                                  "keys[0].name",
		`{"keys":[{"name":"x","token":1e400}]}`:                                                             "keys[0].token",
	} {
		s.do("POST", "import", body).problem(400, "invalid-field", field)
	}
	for _, body := range []string{`null`, `[]`, ` `, `{"keys":[` + good + `]}{}`, `{"keys":[` + good + `]} x`, `{"keys":[` + good + `]`, `{"keys":[` + good, `{"keys":[` + good + `,]}`, `{"keys":[` + good + `}}`, `{5:1}`} {
		s.do("POST", "import", body).problem(400, "invalid-body", "")
	}
	a := s.do("POST", "import", `{"keys":[{"name":"","token":"`+legacyToken+`"},`+good+`,{"name":"x","token":"short"},`+good+`]}`).problem(400, "invalid-field", "keys[0].name")
	a.is(`"keys[0].name"`, "errors", 0, "field").is(`"keys[2].token"`, "errors", 1, "field").is(`"keys[3].token"`, "errors", 2, "field")
	s.do("GET", "keys", "").want(200).is(`[]`, "keys")
}

// Mistakes of every kind are listed, the first of each entry, in their order.
func TestImportListsAllMistakes(t *testing.T) {
	s := newServer(t)
	holder := s.do("POST", "import", `{"keys":[{"name":"x","token":"`+legacyToken+`"}]}`).want(200).text("ids", 0)
	fresh := `,"token":"` + legacyToken + `9"`
	entries := []struct{ text, field, reason string }{
		{`{"name":"x","token":"` + legacyToken + `"}`, "keys[0]", "key " + holder},
		{`{"name":"a"}`, "keys[1].token", "give the token"},
		{`{"token":"ab c"}`, "keys[2].name", "missing"},
		{`{"name":"z","sha256":"zz"}`, "keys[3].sha256", "64 hex digits"},
		{`null`, "keys[4]", "an object"},
		{`{"name":1` + fresh + `}`, "keys[5].name", "text in quotes"},
		{`{"name":"x","scope":"y"` + fresh + `}`, "keys[6].scope", "scopes"},
		{`{"name":"x","name":"y"` + fresh + `}`, "keys[7].name", "twice"},
		{`{"name":"x","public_key":"y"}`, "keys[8].public_key", "PEM"},
		{`{"name":"x"` + fresh + `,"allow":["10.0.0.1/8"]}`, "keys[9].allow[0]", "10.0.0.0/8"},
		{`{"name":"x","org":"nobody"` + fresh + `}`, "keys[10].org", "no org"},
	}
	var list []string
	for _, entry := range entries {
		list = append(list, entry.text)
	}
	a := s.do("POST", "import", `{"keys":[`+strings.Join(list, ",")+`]}`).problem(400, "invalid-field", "keys[1].token")
	if got := a.at("errors").([]any); len(got) != 10 {
		t.Errorf("%d mistakes: %s", len(got), a.body)
	}
	for i, entry := range entries[:10] {
		a.is(`"`+entry.field+`"`, "errors", i, "field")
		if detail := a.text("errors", i, "detail"); !strings.Contains(detail, entry.reason) || strings.Contains(detail, "keys[") {
			t.Errorf("%s: %q, want %q", entry.text, detail, entry.reason)
		}
	}
}

func TestBodyLimits(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	big := `{"name":"` + strings.Repeat("x", 64<<10) + `"}`
	for _, path := range []string{"keys", "keys/" + id + "/rotate", "keys/" + id + "/suspend", "identify"} {
		s.do("POST", path, big).problem(413, "too-large", "")
		s.send("POST", path, io.MultiReader(strings.NewReader(big)), "Content-Type", "application/json").problem(413, "too-large", "") // without a length
	}
	s.do("PUT", "orgs/acme", big).problem(413, "too-large", "")
	s.do("POST", "keys", `{"name":"x","tags":[`+strings.Repeat(`"a",`, 10_000)+`"a"]}`).problem(400, "invalid-field", "tags")

	// An import may be large, each of its entries not.
	s.do("POST", "import", `{"keys":[{"name":"`+strings.Repeat("x", 1<<20)+`"}]}`).problem(413, "too-large", "")
	s.do("POST", "import", `{"keys":[{"tags":[`+strings.Repeat(`"a",`, 1<<20)+`"a"]}]}`).problem(413, "too-large", "")
	s.do("POST", "import", `{"keys":[`+strings.Repeat("[", 1<<20)).want(400)
	entry := []byte(`{"name":"x"},`)
	many := io.MultiReader(strings.NewReader(`{"keys":[`), bytes.NewReader(bytes.Repeat(entry, keyring.MaxImport+1)))
	s.send("POST", "import", many, "Content-Type", "application/json").problem(413, "too-large", "")
	blank := io.MultiReader(strings.NewReader(`{"keys":[`), bytes.NewReader(bytes.Repeat([]byte(" "), maxImportBody)))
	s.send("POST", "import", blank, "Content-Type", "application/json").problem(413, "too-large", "")
}

// The largest body of an import is refused before it is read whole.
func TestImportLength(t *testing.T) {
	s := newServer(t)
	long := `{"keys":[` + strings.Repeat(`{"name":"`+strings.Repeat("x", 60_000)+`"},`, 1200)
	if len(long) <= maxImportBody {
		t.Fatal("not long enough")
	}
	s.send("POST", "import", io.MultiReader(strings.NewReader(long)), "Content-Type", "application/json").problem(413, "too-large", "")
}

func TestOneImportAtATime(t *testing.T) {
	s := newServer(t)
	importing.Lock()
	s.do("POST", "import", `{"keys":[]}`).problem(503, "busy", "")
	importing.Unlock()
	s.do("POST", "import", `{"keys":[]}`).problem(400, "invalid-field", "keys")
}

func TestImportMany(t *testing.T) {
	s := newServer(t)
	const n = 20_000
	var body strings.Builder
	body.WriteString(`{"keys":[`)
	for i := range n {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"name":"key %d","scopes":["a:read"],"token":"%s%06d"}`, i, legacyToken, i)
	}
	body.WriteString(`]}`)
	a := s.do("POST", "import", body.String()).want(200).is(`20000`, "imported")
	s.do("GET", "keys/"+a.text("ids", n-1), "").want(200).is(`"key 19999"`, "name")
}

// Caddy's admin server gives a request 10 seconds; an import may
// take longer, and so may what comes after the body.
func TestSlowBodies(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 12 seconds")
	}
	s := newServer(t)
	slow := func(text string) io.Reader {
		r, w := io.Pipe()
		go func() {
			_, _ = io.WriteString(w, text[:len(text)/2])
			time.Sleep(11 * time.Second)
			_, _ = io.WriteString(w, text[len(text)/2:])
			_ = w.Close()
		}()
		return r
	}
	s.store.wait = 11 * time.Second
	late, backup := make(chan reply), make(chan reply)
	go func() { backup <- s.do("GET", "backup", "") }()
	go func() {
		late <- s.send("POST", "import", slow(`{"keys":[{"name":"x","token":"`+legacyToken+`"}]}`), "Content-Type", "application/json")
	}()
	s.send("POST", "keys", slow(`{"name":"x"}`), "Content-Type", "application/json").problem(408, "slow-body", "")
	(<-late).want(200).is(`1`, "imported")
	(<-backup).want(200)
}
