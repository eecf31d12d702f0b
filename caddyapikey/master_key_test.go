package caddyapikey_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// stop ends the server, as a restart would.
func stop(t *testing.T) {
	t.Helper()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
}

// signs reports whether a key of before still lets its requests in.
func signs(t *testing.T, s *signer) bool {
	t.Helper()
	return s.r.Do(sign(t, s.hawk, s.request(t, "GET", "/v1/export", ""), time.Now())).Status == http.StatusOK
}

func TestDefaultMasterKey(t *testing.T) {
	r := rig.New(t, "", signedSite)
	file := r.StorePath() + ".master_key"
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, mode %v", err, info.Mode())
	}
	s := newSigner(t, r, exporter)
	stop(t)
	r.Load("", signedSite)
	if !signs(t, s) {
		t.Fatal("the key does not work after a restart")
	}

	stop(t)
	refused := func(what, want string) {
		t.Helper()
		if err := r.TryLoad("", signedSite); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), s.secret) {
			t.Errorf("%s: %v", what, err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(keyring.NewMasterKey().Reveal(), 0o600)
	refused("another master key", "sealed with another master key")
	write("nonsense", 0o600)
	refused("no master key", "is not 32 bytes")
	write(string(text), 0o644)
	refused("a readable master key", "chmod 600")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	refused("no file", "is missing")
	if err := os.Symlink("/dev/zero", file); err != nil {
		t.Fatal(err)
	}
	refused("a link", "not a regular file")
	write(string(text), 0o600)
	r.Load("", signedSite)
	if !signs(t, s) {
		t.Error("the key does not work with its master key back")
	}
}

func TestMasterKeyIsReplaced(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(keyring.NewMasterKey().Reveal()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return "{file." + file + "}"
	}
	older, newer := path("old"), path("new")
	options := func(keys string) string {
		return "api_keys {\nstore bolt " + filepath.Join(dir, "store", "keys.db") + "\nmaster_key " + keys + "\n}"
	}
	r := rig.New(t, options(older), signedSite)
	s := newSigner(t, r, exporter)
	if err := r.TryLoad(options(newer), signedSite); err == nil {
		t.Fatal("a master key that opens nothing was taken")
	}
	r.Load(options(newer+" "+older), signedSite)
	if !signs(t, s) {
		t.Error("the key does not work with both master keys")
	}
	if answer := r.Manage("POST", "/reseal", ""); answer.Status != 200 || strings.TrimSpace(string(answer.Body)) != `{"resealed":1}` {
		t.Fatalf("status %d %s", answer.Status, answer.Body)
	}
	r.Load(options(newer), signedSite)
	if !signs(t, s) {
		t.Error("the key does not work with the new master key alone")
	}
	if err := r.TryLoad(options("{file."+filepath.Join(dir, "missing")+"}"), signedSite); err == nil || !strings.Contains(err.Error(), "openssl rand") {
		t.Errorf("a missing file: %v", err)
	}
}

// What was used before a restart is not let in after it: what the server wrote
// when it stopped is remembered, and where it wrote nothing all of that time is
// refused.
func TestReplayAfterRestart(t *testing.T) {
	r := rig.New(t, "", signedSite)
	s := newSigner(t, r, exporter)
	used := sign(t, s.hawk, s.request(t, "GET", "/v1/export", ""), time.Now())
	if answer := r.Do(used); answer.Status != 200 {
		t.Fatalf("status %d %s", answer.Status, answer.Body)
	}
	stop(t)
	r.Load("", signedSite)
	wantAnswer(t, r.Do(used), 401, "replayed_signature")
	if !signs(t, s) {
		t.Error("a new request is refused after an orderly restart")
	}

	stop(t)
	files, err := filepath.Glob(r.StorePath() + ".nonces*")
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	if err := os.Remove(files[0]); err != nil { // as if it had crashed
		t.Fatal(err)
	}
	r.Load("", signedSite)
	for _, req := range []*http.Request{used, sign(t, s.hawk, s.request(t, "GET", "/v1/export", ""), time.Now())} {
		answer := r.Do(req)
		wantAnswer(t, answer, 503, "nonces_unknown")
		if answer.Header.Get("Retry-After") != "60" {
			t.Errorf("Retry-After %q", answer.Header.Get("Retry-After"))
		}
	}
}

// What was saved under one skew knows nothing of what was used under another
// one since, be it that the server was stopped in between or not.
func TestReplayAfterOtherSkew(t *testing.T) {
	for name, leave := range map[string]func(*testing.T){"restart": stop, "reload": func(*testing.T) {}} {
		t.Run(name, func(t *testing.T) {
			site := func(skew string) string {
				return strings.Replace(signedSite, "signature hawk message {", "signature hawk message {\nskew "+skew, 1)
			}
			r := rig.New(t, "", site("3s"))
			s := newSigner(t, r, exporter)
			if !signs(t, s) {
				t.Fatal("a new request is refused")
			}
			leave(t)
			r.Load("", site("1s"))
			var used *http.Request
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // until what was used before cannot matter
				used = sign(t, s.hawk, s.request(t, "GET", "/v1/export", ""), time.Now())
				if answer := r.Do(used); answer.Status == http.StatusOK {
					break
				} else if time.Now().After(deadline) {
					t.Fatalf("status %d %s", answer.Status, answer.Body)
				}
			}
			leave(t)
			r.Load("", site("3s"))
			if answer := r.Do(used); answer.Status == http.StatusOK {
				t.Error("a replay was let in")
			}
		})
	}
}
