package adminapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

func TestNotConfigured(t *testing.T) {
	s := newServer(t)
	s.load("", ``)
	a := s.do("GET", "keys", "").problem(404, "not-configured", "")
	if detail := a.text("detail"); !strings.Contains(detail, "api_key directive") {
		t.Errorf("detail %q", detail)
	}
	s.do("GET", "openapi.json", "").want(200)
	s.do("GET", "health", "").problem(404, "not-configured", "")
	s.load("", `"api_keys":{}`)
	s.do("GET", "keys", "").want(200)
	s.do("GET", "health", "").want(200).is(`"ok"`, "status").is(`[]`, "reasons")
	testKeyring.Store(nil)
	if a := s.do("GET", "health", ""); a.status != 503 || a.text("status") != "degraded" || !strings.Contains(a.body, `"not_running"`) {
		t.Errorf("health: %d %s", a.status, a.body)
	}
	a = s.do("GET", "keys", "").problem(503, "not-running", "")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// After a rejected reload the admin endpoint belongs to a configuration that
// never ran; keys are managed in the one that runs.
func TestRejectedReload(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	if err := s.tryLoad("", `"api_keys":{"fail":true}`); err == nil {
		t.Fatal("the configuration was accepted")
	}
	s.do("POST", "keys/"+id+"/revoke", "").want(200).is(`"revoked"`, "state")
}

func TestIdentify(t *testing.T) {
	s := newServer(t)
	id, token := s.create("")
	body := `{"token":"` + token + `"}`
	s.do("POST", "identify", body).want(200).is(`"`+id+`"`, "key", "id").is(`1`, "credential").is(`false`, "revoked").is(`"active"`, "key", "state")
	s.do("POST", "identify", `{"token":"`+token+`","revoke":true}`).want(200).is(`true`, "revoked").is(`"revoked"`, "key", "state")
	s.do("POST", "identify", `{"token":"`+token+`","revoke":true}`).want(200).is(`true`, "revoked")
	s.do("DELETE", "keys/"+id, "").want(204)
	s.do("POST", "identify", `{"token":"`+token+`","revoke":true}`).want(200).is(`"deleted"`, "key", "state").is(`true`, "revoked")
	s.do("POST", "identify", `{"token":"nobody's"}`).problem(404, "not-found", "")
	for body, field := range map[string]string{
		`{}`: "token", `{"token":""}`: "token", `{"token":null}`: "token", `{"token":["` + token + `"]}`: "token", `{"token":"` + strings.Repeat("x", 513) + `"}`: "token",
		`{"token":"x","revoke":"true"}`: "revoke", `{"token":"x","Revoke":true}`: "Revoke",
	} {
		s.do("POST", "identify", body).problem(400, "invalid-field", field)
	}
}

// A token is in the answer that creates it and nowhere else, a digest nowhere.
func TestNoSecrets(t *testing.T) {
	s := newServer(t)
	a := s.do("POST", "keys", `{"name":"test"}`).want(201)
	id := a.text("key", "id")
	tokens := []string{a.text("token"), legacyToken}
	tokens = append(tokens, s.do("POST", "keys/"+id+"/rotate", "").want(200).text("token"))
	tokens = append(tokens, s.do("POST", "keys/"+id+"/credentials", "").want(201).text("token"))
	var secrets []string
	for _, token := range tokens {
		digest := sha256.Sum256([]byte(token))
		secrets = append(secrets, token, hex.EncodeToString(digest[:]), base64.StdEncoding.EncodeToString(digest[:]), base64.RawURLEncoding.EncodeToString(digest[:]))
	}
	var seen strings.Builder
	say := func(a reply) { seen.WriteString(a.body + fmt.Sprint(a.header)) }
	say(s.do("POST", "import", `{"keys":[{"name":"x","token":"`+legacyToken+`"}]}`).want(200))
	say(s.do("POST", "import", `{"keys":[{"name":"x","token":"`+legacyToken+`"}]}`).want(409))
	say(s.do("POST", "import", `{"keys":[{"name":"x","token":"`+legacyToken+`","token":"`+tokens[0]+`"}]}`).want(400))
	for _, token := range tokens {
		say(s.do("POST", "identify", `{"token":"`+token+`"}`).want(200))
		say(s.do("POST", "identify", `{"token":["`+token+`"]}`).want(400))
		say(s.do("POST", "identify", `{"token":"`+token+`" "revoke":true}`).want(400))
		say(s.do("POST", "keys", `{"name":"x","`+token+`":1}`).want(400))
		say(s.do("POST", "keys", `{"name":"x","expires_at":"`+token+`"}`).want(400))
	}
	for _, path := range []string{"keys", "keys/" + id, "keys/" + id + "/credentials", "keys?q=test", "orgs", "openapi.json"} {
		say(s.do("GET", path, "").want(200))
	}
	s.store.fault.Store(new(error(keyring.ErrUncertain)))
	say(s.do("POST", "keys", `{"name":"x"}`).want(503))
	say(s.do("POST", "keys/"+id+"/credentials", "").want(503))
	s.store.fault.Store(nil)
	say(s.do("POST", "keys/"+id+"/revoke", "").want(200))
	seen.WriteString(s.log())
	for _, secret := range secrets {
		if strings.Contains(seen.String(), secret) {
			at := strings.Index(seen.String(), secret)
			t.Errorf("%s is in an answer or in the log: %.500s", secret, seen.String()[max(0, at-200):])
		}
	}
}

// What the store reports becomes an answer that says what to do.
func TestStoreFaults(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	for _, tc := range []struct {
		fault  error
		status int
		slug   string
	}{
		{fmt.Errorf("%w: store /x", keyring.ErrFull), 507, "store-full"},
		{fmt.Errorf("%w: store /x", keyring.ErrUnavailable), 503, "store-unavailable"},
		{keyring.ErrDamaged, 503, "store-unavailable"},
		{keyring.ErrClosed, 503, "not-running"},
		{fmt.Errorf("%w: %w", keyring.ErrUncertain, context.Canceled), 503, "outcome-unknown"},
		{fmt.Errorf("%w: then %w", keyring.ErrUncertain, keyring.ErrNotFound), 503, "outcome-unknown"},
		{keyring.ErrConflict, 409, "conflict"},
		{keyring.ErrExists, 409, "already-exists"},
		{keyring.ErrState, 409, "wrong-state"},
		{context.Canceled, 503, "cancelled"},
		{errors.New("internal matter"), 500, "internal"},
	} {
		s.store.fault.Store(&tc.fault)
		a := s.do("POST", "keys/"+id+"/suspend", "").problem(tc.status, tc.slug, "")
		if (a.status == 503) != (a.header.Get("Retry-After") != "") {
			t.Errorf("%v: Retry-After %q with %d", tc.fault, a.header.Get("Retry-After"), a.status)
		}
		if strings.Contains(a.body, "internal matter") {
			t.Errorf("internals are told: %s", a.body)
		}
		if tc.fault == keyring.ErrConflict {
			s.do("POST", "keys/"+id+"/suspend", "", "If-Match", `"1"`).problem(412, "precondition-failed", "")
		}
	}
	s.store.fault.Store(nil)
	s.do("POST", "keys/"+id+"/suspend", "").want(200)
	if !strings.Contains(s.log(), "internal matter") {
		t.Error("the cause of an internal error is not in the log")
	}
}

func TestBackup(t *testing.T) {
	s := newServer(t)
	id, token := s.create("")
	a := s.do("GET", "backup", "").want(200)
	if a.header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(a.header.Get("Content-Disposition"), `attachment; filename="api_keys-`) {
		t.Errorf("headers %v", a.header)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keys.db")
	if err := os.WriteFile(path, []byte(a.body), 0o600); err != nil {
		t.Fatal(err)
	}
	restored, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = restored.Close() }()
	if key, err := restored.KeyByDigest(t.Context(), keyring.DigestOf(token)); err != nil || key.ID != id {
		t.Errorf("the copy has %v, %v", key, err)
	}
	if head := s.do("HEAD", "backup", ""); head.status != 200 || head.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}

	s.store.fault.Store(new(error(keyring.ErrUnavailable)))
	s.do("GET", "backup", "").problem(503, "store-unavailable", "")
	// One that fails half-way is not taken for a whole one.
	s.store.after = 1 << 20
	resp, err := http.Get("http://" + s.addr + "/api_keys/backup")
	if err == nil {
		_, err = resp.Body.Read(make([]byte, 0))
		buf := make([]byte, 1<<16)
		for err == nil {
			_, err = resp.Body.Read(buf)
		}
		_ = resp.Body.Close()
	}
	if err == nil || err.Error() == "EOF" {
		t.Errorf("a broken backup ends with %v", err)
	}
}

// The admin endpoint answers before the first configuration runs. It must not
// say then that no keys are configured.
func TestWhileTheFirstConfigurationStarts(t *testing.T) {
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	var p *problem
	if err := new(call).findApp(); !errors.As(err, &p) || p.kind != notRunning {
		t.Errorf("%v, want %s", err, notRunning.slug)
	}
}
