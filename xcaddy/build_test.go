package main_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

const (
	module       = "github.com/caddy-apikey/caddy-apikey"
	caddyVersion = "v2.11.9"
	rateLimit    = "github.com/mholt/caddy-ratelimit@v0.1.0"
)

// Our own main package and the real xcaddy tool make a binary that has the
// modules and guards a site.
func TestBuilds(t *testing.T) {
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for name, build := range map[string]func(ctx context.Context, binary string) *exec.Cmd{
		"go build": func(ctx context.Context, binary string) *exec.Cmd {
			return exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
		},
		"xcaddy": func(ctx context.Context, binary string) *exec.Cmd {
			// The version keeps the go command from asking for those that were
			// published, and failing where it gets no answer.
			cmd := exec.CommandContext(ctx, "go", "tool", "-modfile="+filepath.Join(checkout, "tools", "go.mod"), "xcaddy",
				"build", caddyVersion, "--with", module+"@v0.0.0="+checkout, "--with", rateLimit, "--output", binary)
			cmd.Dir = checkout
			return cmd
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "xcaddy" && testing.Short() {
				t.Skip("resolves and builds a module of its own; left out by -short")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
			defer cancel()
			binary := filepath.Join(t.TempDir(), "caddy")
			if out, err := build(ctx, binary).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			checkModules(t, binary)
			checkGuards(t, binary)
		})
	}
}

func checkModules(t *testing.T, binary string) {
	t.Helper()
	out, err := exec.Command(binary, "list-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	has := make(map[string]bool)
	for line := range strings.SplitSeq(string(out), "\n") {
		has[line] = true
	}
	for _, id := range []string{
		"admin.api.api_keys", "api_keys", "api_keys.stores.bolt", "http.authentication.providers.api_key",
		"http.handlers.api_key", "http.handlers.rate_limit", "http.matchers.api_key",
	} {
		if !has[id] {
			t.Errorf("module %s is missing", id)
		}
	}
}

// checkGuards starts the binary on loopback, is refused without a key, makes
// one and is let in, and sees validate succeed beside the running server.
func checkGuards(t *testing.T, binary string) {
	t.Helper()
	dir := t.TempDir()
	site, admin := rig.FreeAddr(t), rig.FreeAddr(t)
	config := filepath.Join(dir, "Caddyfile")
	err := os.WriteFile(config, fmt.Appendf(nil, "{\nadmin %s\n}\nhttp://%s {\nbind 127.0.0.1\napi_key {\nrequire *\n}\nrespond ok\n}\n", admin, site), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	environ := append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	server := exec.Command(binary, "run", "--config", config, "--adapter", "caddyfile")
	server.Env = environ
	var log bytes.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Signal(os.Interrupt)
		defer time.AfterFunc(30*time.Second, func() { _ = server.Process.Kill() }).Stop()
		if err := server.Wait(); err != nil {
			t.Errorf("the server ended with %v\n%s", err, log.String())
		}
	}()

	status := await(t, "http://"+site)
	if status != http.StatusUnauthorized {
		t.Errorf("without a key: status %d", status)
	}
	await(t, "http://"+admin+"/api_keys/keys") // sites serve a moment before keys can be managed
	resp, err := http.Post("http://"+admin+"/api_keys/keys", "application/json", strings.NewReader(`{"name":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	_, rest, _ := strings.Cut(string(answer), `"token":`)
	_, rest, _ = strings.Cut(rest, `"`)
	token, _, _ := strings.Cut(rest, `"`)
	req, err := http.NewRequest("GET", "http://"+site, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	let, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	let.Body.Close()
	if let.StatusCode != http.StatusOK {
		t.Errorf("with a key: status %d", let.StatusCode)
	}

	for _, command := range []string{"validate", "adapt"} {
		cmd := exec.Command(binary, command, "--config", config, "--adapter", "caddyfile")
		cmd.Env = environ
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s beside the running server: %v\n%s", command, err, out)
		}
	}
	second := filepath.Join(dir, "Second")
	err = os.WriteFile(second, fmt.Appendf(nil, "{\nadmin %s\n}\nhttp://%s {\nbind 127.0.0.1\napi_key {\nrequire *\n}\n}\n", rig.FreeAddr(t), rig.FreeAddr(t)), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "run", "--config", second, "--adapter", "caddyfile")
	cmd.Env = environ
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprint("pid ", server.Process.Pid)) {
		t.Errorf("a second server on the same store: %v, the message must name the holder\n%s", err, out)
	}
}

// await asks until there is an answer, for a minute and more.
func await(t *testing.T, url string) int {
	t.Helper()
	var err error
	for range 600 {
		var resp *http.Response
		if resp, err = http.Get(url); err == nil && resp.StatusCode != http.StatusServiceUnavailable {
			resp.Body.Close()
			return resp.StatusCode
		}
		if err == nil {
			resp.Body.Close()
		}
		time.Sleep(100 * time.Millisecond) // another process has no signal to wait for
	}
	t.Fatal("the server did not come up: ", err)
	return 0
}
