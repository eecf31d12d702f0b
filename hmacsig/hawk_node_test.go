package hmacsig

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// installHawk puts npm's hawk, as the lock file has it, and the script beside it
// into a directory of the test's.
func installHawk(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the reference's client needs %s: %v", tool, err)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "hawk_client.js"} {
		text, err := os.ReadFile(filepath.Join("testdata", "node", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	npmInstall(t, dir)
	return dir
}

// npmUnreachable are the errors of npm that say that its registry does not answer.
var npmUnreachable = regexp.MustCompile(`E(NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|TIMEDOUT|NETUNREACH|HOSTUNREACH|PIPE|403|407|429|50[0-9])\b|ERR_SOCKET|network`)

// npmInstall installs what the lock file in a directory names. It skips the test
// where the registry is out of reach, as where there is no npm.
func npmInstall(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")
	npm.Dir = dir
	npm.WaitDelay = time.Second
	out, err := npm.CombinedOutput()
	switch {
	case err != nil && (ctx.Err() != nil || npmUnreachable.Match(out)):
		t.Skipf("the client cannot be installed: npm ci: %v\n%s", err, out)
	case err != nil:
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
}

type hawkNodeLine struct {
	Name, Body, Challenge, Error string
	Status                       int
	Verified                     []string
}

func TestHawkReferenceClient(t *testing.T) {
	dir := installHawk(t)
	s := newHawkServer(t)
	gate := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/share" {
			gate.ServeHTTP(w, r)
			return
		}
		signed := &Request{Method: r.Method, Scheme: "http", Authority: r.Host, Target: r.RequestURI, Header: r.Header}
		bewit, err := ParseHawkBewit(signed)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		proof, err := bewit.Verify(s.keys[bewit.ID()], signed)
		if err == nil {
			err = proof.Fresh(time.Now(), 10*time.Minute)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(proof.Target() + " " + proof.Ext()))
	})

	input, err := json.Marshal(map[string]string{"url": s.URL, "id": "dh37fgj492je", "key": hawkTestSecret})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "hawk_client.js")
	complaints := new(bytes.Buffer)
	node.Dir, node.Stdin, node.Stderr = dir, bytes.NewReader(input), complaints
	out, err := node.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, complaints)
	}

	const payload = `{"a":"€"}`
	answered := []string{"server-authorization"}
	want := []hawkNodeLine{
		{Name: "get", Status: 200, Body: "you said ", Verified: answered},
		{Name: "encoded", Status: 200, Body: "you said ", Verified: answered},
		{Name: "empty query", Status: 200, Body: "you said ", Verified: answered},
		{Name: "ext", Status: 200, Body: "you said ", Verified: answered},
		{Name: "app", Status: 200, Body: "you said ", Verified: answered},
		{Name: "fraction", Status: 200, Body: "you said ", Verified: answered},
		{Name: "post", Status: 200, Body: "you said " + payload, Verified: answered},
		{Name: "post of nothing", Status: 200, Body: "you said ", Verified: answered},
		{Name: "delete", Status: 200, Body: "you said ", Verified: answered},
		{Name: "tampered", Status: 401, Challenge: `Hawk error="Bad payload hash"`},
		{Name: "body that was not signed", Status: 401, Challenge: `Hawk error="Missing required payload hash"`},
		{Name: "once", Status: 200, Body: "you said " + payload, Verified: answered},
		{Name: "again", Status: 401, Challenge: `Hawk error="Invalid nonce"`},
		{Name: "stale", Status: 401, Challenge: "Hawk ts="},
		{Name: "repaired", Status: 200, Body: "you said " + payload, Verified: answered},
		{Name: "wrong key", Status: 401, Challenge: `Hawk error="Bad mac"`},
		{Name: "unknown id", Status: 401, Challenge: `Hawk error="Bad mac"`},
		// The client cannot read what its own server says to strangers either.
		{Name: "anonymous", Status: 401, Challenge: "Hawk", Error: "Invalid WWW-Authenticate header"},
		{Name: "bewit", Status: 200, Body: "/share?a=1 x"},
		{Name: "bewit for too long", Status: 401},
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(want) {
		t.Errorf("%d answers, want %d", len(lines), len(want))
	}
	for i, text := range lines[:min(len(lines), len(want))] {
		var got hawkNodeLine
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		w := want[i]
		if w.Status == 401 {
			got.Body = ""
			if w.Challenge != "" && w.Error == "" {
				w.Verified = []string{"www-authenticate"}
			}
		}
		if w.Name == "stale" && strings.HasPrefix(got.Challenge, w.Challenge) {
			got.Challenge = w.Challenge // its time is the clock's
		}
		if got.Name != w.Name || got.Status != w.Status || got.Body != w.Body || got.Challenge != w.Challenge ||
			got.Error != w.Error || !slices.Equal(got.Verified, w.Verified) {
			t.Errorf("got  %+v\nwant %+v", got, w)
		}
	}

	var passed []string
	for _, note := range s.notes() {
		if note != "OK" && note != "Unauthorized" {
			passed = append(passed, note)
		}
	}
	if want := []string{
		"GET / ", "GET /a%2Fb/%E2%82%AC;v=1/../c?q=%C3%BC+x&q=1&&z= ", "GET /a? ", "GET / ", "GET / ", "GET / ",
		"POST /p " + payload, "POST /p ", "DELETE /p/1 ", "POST /p " + payload, "POST /p " + payload,
	}; !slices.Equal(passed, want) {
		t.Errorf("what passed the gate: %q, want %q", passed, want)
	}
}
