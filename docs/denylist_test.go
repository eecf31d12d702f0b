package docs_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/denylist"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// The page of deny lists has the forms, the metrics and the bounds that there are.
func TestDenyPage(t *testing.T) {
	page := read(t, "denylist.md")
	forms := firsts(page, "(?s)```text\n(.*?)```")
	if len(forms) != 4 {
		t.Fatalf("%d blocks", len(forms))
	}
	for _, form := range forms[1:] {
		if set, err := denylist.Parse(strings.NewReader(form)); err != nil || set.Len() == 0 {
			t.Errorf("%v: %s", err, form)
		}
	}
	for _, text := range []string{thousands(denylist.MaxEntries) + " entries", "256 MiB", thousands(denylist.MaxLine) + " bytes in a line"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page has no %q", text)
		}
	}
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte(forms[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	r := rig.New(t, "", "api_key {\ndeny "+path+"\nrequire *\n}\nrespond ok")
	var real []string
	for name, family := range scrapeAll(t, r) {
		if strings.HasPrefix(name, "caddy_api_keys_deny_list_") {
			real = append(real, name+" "+strings.ToLower(family.GetType().String())+" "+family.GetMetric()[0].GetLabel()[0].GetName())
		}
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(caddy_api_keys_\\w+)` \\| (\\w+) \\| `(\\w+)` \\|").FindAllStringSubmatch(page, -1) {
		documented = append(documented, strings.Join(m[1:], " "))
	}
	slices.Sort(real)
	slices.Sort(documented)
	if len(real) != 5 || !slices.Equal(documented, real) {
		t.Errorf("documented %v\nreal       %v", documented, real)
	}
}

// The command that fetches a list replaces the file, and leaves it alone if the
// server that it asks fails.
func TestDenyFetch(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip(err)
	}
	command := firstFenceOf(section(read(t, "denylist.md"), "### Keep one up to date"), "sh")
	var status atomic.Int64
	status.Store(http.StatusOK)
	feed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte(`{"cidr":"1.10.16.0/20"}` + "\n" + `{"type":"metadata","records":1}` + "\n"))
	}))
	defer feed.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "drop.json")
	command = regexp.MustCompile(`https://\S+`).ReplaceAllString(strings.ReplaceAll(command, "/etc/caddy", dir), feed.URL)
	run := func() error {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Env = append(os.Environ(), "no_proxy=*")
		return cmd.Run()
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if f, err := denylist.Open(path, false); err != nil || f.Status().Entries != 1 {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status.Store(http.StatusServiceUnavailable)
	if err := run(); err == nil || read(t, path) != "mine\n" {
		t.Errorf("a failed fetch has replaced the list: %v", err)
	}
}
