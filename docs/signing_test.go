package docs_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// signingPage is the page on signing with a server for it, and a directory in
// which its commands run.
type signingPage struct {
	r      *rig.Rig
	blocks map[string]string // by what stands behind ```
	dir    string
	id     string // of the key that signs
}

func newSigningPage(t *testing.T) *signingPage {
	p := &signingPage{blocks: make(map[string]string), dir: t.TempDir()}
	for _, m := range fence.FindAllStringSubmatch(read(t, "signing.md"), -1) {
		p.blocks[m[1]] = m[2]
	}
	_, site, _ := strings.Cut(p.blocks["caddyfile"], "{\n")
	site = strings.TrimSuffix(strings.TrimSpace(site), "}")
	p.r = rig.New(t, "", strings.ReplaceAll(site, "localhost:9000", "{$UPSTREAM}"))
	return p
}

// run runs a block of the page with a program, and returns what it printed. It
// skips where the program is missing.
func (p *signingPage) run(t *testing.T, block, file, program string, args ...string) string {
	t.Helper()
	text, ok := p.blocks[block]
	if !ok {
		t.Fatalf("the page has no block %q", block)
	}
	for _, tool := range []string{program, "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil && (tool == program || strings.Contains(text, tool+" ")) {
			t.Skipf("the page's %s needs %s: %v", block, tool, err)
		}
	}
	host, port, err := net.SplitHostPort(p.r.Site)
	if err != nil {
		t.Fatal(err)
	}
	text = strings.NewReplacer("localhost:8080", p.r.Site, "localhost:2019", p.r.Admin, `"localhost", 8080`, `"`+host+`", `+port).Replace(text)
	if err := os.WriteFile(filepath.Join(p.dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append(args, file)...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "ID="+p.id)
	stderr := new(strings.Builder)
	cmd.Stderr = stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", block, err, stderr)
	}
	return string(out)
}

// create runs a block that creates a key.
func (p *signingPage) create(t *testing.T, block string) {
	t.Helper()
	out := p.run(t, block, "create.sh", "bash", "-eu")
	var made struct {
		Key    struct{ ID string }
		Secret string
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Key.ID == "" {
		t.Fatalf("%s: %v", block, err)
	}
	p.id = made.Key.ID
	if made.Secret != "" {
		if err := os.WriteFile(filepath.Join(p.dir, "secret.txt"), []byte(made.Secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// install puts npm packages into the directory, as a lock file has them.
func (p *signingPage) install(t *testing.T, locked string) {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skipf("installing the client needs npm: %v", err)
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(read(t, filepath.Join(locked, name))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")
	npm.Dir = p.dir
	npm.WaitDelay = time.Second
	out, err := npm.CombinedOutput()
	switch {
	case err != nil && (ctx.Err() != nil || npmUnreachable.Match(out)):
		t.Skipf("the client cannot be installed: npm ci: %v\n%s", err, out)
	case err != nil:
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
}

// npmUnreachable are the errors of npm that say that its registry does not answer.
var npmUnreachable = regexp.MustCompile(`E(NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|TIMEDOUT|NETUNREACH|HOSTUNREACH|PIPE|403|407|429|50[0-9])\b|ERR_SOCKET|network`)

// The page's commands make a key, and its programs are let in.
func TestSigningPage(t *testing.T) {
	p := newSigningPage(t)
	for _, c := range []struct{ name, create, block, file, program, want, locked string }{
		{"python", "sh secret", "python", "sign.py", "python3", "200\n", ""},
		{"hawk for node", "sh secret", "js hawk", "hawk.mjs", "node", "200\n", "../hmacsig/testdata/node"},
		{"message for node", "sh secret", "js message", "message.mjs", "node", "200\n", "../hmacsig/testdata/node-message"},
		{"openssl", "sh public", "sh openssl", "sign.sh", "bash", "HTTP/1.1 200 OK\r\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.create(t, c.create)
			if c.locked != "" {
				p.install(t, c.locked)
			}
			before := p.r.Upstream.Hits()
			if out := p.run(t, c.block, c.file, c.program); !strings.HasPrefix(out, c.want) {
				t.Errorf("it printed %q", out)
			}
			if p.r.Upstream.Hits() != before+1 {
				t.Error("the request did not reach the upstream")
			}
		})
	}
}
