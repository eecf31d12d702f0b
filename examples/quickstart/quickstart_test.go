package quickstart_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// What the two pages tell a newcomer to do does what they say.
func TestExampleRuns(t *testing.T) {
	for _, page := range []string{"README.md", "../../README.md"} {
		t.Run(page, func(t *testing.T) {
			followPage(t, start(t), read(t, page))
		})
	}
}

// The page in front shows the same Caddyfile.
func TestFrontPageShowsTheExample(t *testing.T) {
	site, _, _ := strings.Cut(read(t, "Caddyfile"), "\n\n")
	if page := read(t, "../../README.md"); !strings.Contains(page, "```caddyfile\n"+site+"\n```") {
		t.Errorf("README.md does not have the site of the quickstart:\n%s", site)
	}
}

// start runs the example as it is, but for its ports.
func start(t *testing.T) *rig.Rig {
	t.Helper()
	r := rig.New(t, "", "respond 204") // for its directories and addresses
	caddyfile := strings.NewReplacer("localhost:8080", r.Site, "localhost:9000", rig.FreeAddr(t)).Replace(read(t, "Caddyfile"))
	options, found := strings.CutPrefix(caddyfile, "{\n")
	if !found {
		t.Fatal("the example does not begin with global options")
	}
	err := rig.LoadCaddyfile(fmt.Sprintf("{\nadmin %s\npersist_config off\n%s", r.Admin, options))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	curlLine   = regexp.MustCompile(`(?m)^curl `)
	promised   = regexp.MustCompile(`(?m)# (\d{3})\b`)
	answered   = regexp.MustCompile(`(?m)^HTTP/1\.1 (\d{3}) `)
	newKey     = regexp.MustCompile(`"id": ?"([^"]+)"`)
	newToken   = regexp.MustCompile(`"token": ?"([^"]+)"`)
)

// followPage runs the curl lines of a page in their order. TOKEN and ID are
// those of the key that the first of them creates.
func followPage(t *testing.T, r *rig.Rig, page string) {
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s", program)
		}
	}
	ran := 0
	environ := os.Environ()
	for _, block := range shellBlock.FindAllStringSubmatch(page, -1) {
		script := block[1]
		if !curlLine.MatchString(script) {
			continue
		}
		ran++
		cmd := exec.CommandContext(t.Context(), "sh", "-c",
			"set -eu\ncurl() { command curl -sS --noproxy '*' \"$@\"; echo; }\n"+
				strings.NewReplacer("localhost:2019", r.Admin, "localhost:8080", r.Site).Replace(script))
		cmd.Env = environ
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, script, out)
		}
		want, got := submatches(promised, script), submatches(answered, string(out))
		if !slices.Equal(got, want) {
			t.Errorf("answered %v, the page promises %v\n%s\n%s", got, want, script, out)
		}
		if want == nil && strings.Contains(string(out), "problems.md#") {
			t.Errorf("refused\n%s\n%s", script, out)
		}
		if token := newToken.FindSubmatch(out); token != nil && ran == 1 {
			environ = append(environ, "TOKEN="+string(token[1]), "ID="+string(newKey.FindSubmatch(out)[1]))
		}
	}
	if ran < 2 {
		t.Errorf("the page has %d blocks with curl lines", ran)
	}
}

func submatches(pattern *regexp.Regexp, text string) (list []string) {
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
