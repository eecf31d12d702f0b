package docs_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/lockout"
)

// The page of lockout has the options, the metrics and the bounds that there
// are.
func TestLockoutPage(t *testing.T) {
	page := read(t, "lockout.md")
	options := listed(t, "../caddyapikey/lockout_caddyfile.go", `unknown option %q: write ([^"]*)"`)
	slices.Sort(options)
	for what, documented := range map[string][]string{
		"headings": firsts(section(page, "## Options"), `(?m)^### ([a-z]+)$`),
		"grammar":  firsts(firstFence(section(page, "## Options")), `(?m)^\t([a-z]+)\b`),
	} {
		slices.Sort(documented)
		if !slices.Equal(documented, options) {
			t.Errorf("%s %v, options %v", what, documented, options)
		}
	}

	r := rig.New(t, "", "lockout {\nname docs\non 418 1 in 1m\n}\nerror 418")
	r.Get("/")
	answer := r.Get("/")
	var shown []string
	for line := range strings.Lines(firstFenceOf(page, "text")) {
		shown = append(shown, strings.TrimSpace(line))
	}
	for _, text := range []string{answer.Header.Get("Content-Type"), answer.Header.Get("Cache-Control")} {
		if !strings.Contains(strings.Join(shown, "\n"), text) {
			t.Errorf("the answer that is shown has no %q", text)
		}
	}
	if got := strings.NewReplacer("\n", "", " ", "").Replace(strings.Join(shown, "")); !strings.HasSuffix(got, strings.ReplaceAll(string(answer.Body), " ", "")) {
		t.Errorf("the body is %s", answer.Body)
	}

	var real []string
	for name, family := range scrapeAll(t, r) {
		if strings.HasPrefix(name, "caddy_api_keys_lockout_") {
			var labels []string
			for _, l := range family.GetMetric()[0].GetLabel() {
				labels = append(labels, l.GetName())
			}
			real = append(real, name+" "+strings.ToLower(family.GetType().String())+" "+strings.Join(labels, " "))
		}
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(caddy_api_keys_\\w+)` \\| (\\w+) \\|([^|]*)\\|").FindAllStringSubmatch(page, -1) {
		documented = append(documented, m[1]+" "+m[2]+" "+strings.Join(firsts(m[3], "`(\\w+)`"), " "))
	}
	slices.Sort(real)
	slices.Sort(documented)
	if len(real) < 10 || !slices.Equal(documented, real) {
		t.Errorf("documented\n%s\nreal\n%s", strings.Join(documented, "\n"), strings.Join(real, "\n"))
	}

	for _, text := range []string{
		"Up to " + thousands(lockout.DefaultLimits.Counters) + " counts",
		thousands(lockout.DefaultLimits.Locks) + " locks",
		"(1 to " + thousands(lockout.MaxLimit) + ")",
		fmt.Sprintf("Up to %d lines", lockout.MaxRules),
		fmt.Sprintf("up to %d bytes", lockout.MaxReason),
	} {
		if !strings.Contains(page, text) {
			t.Errorf("the page has no %q", text)
		}
	}
}

// The commands of the page run in their order.
func TestLockoutCommands(t *testing.T) {
	commands := firstFenceOf(section(read(t, "lockout.md"), "## List, lock and release"), "sh")
	r := rig.New(t, "", "lockout {\nname commands\n}\nrespond ok")
	script := "set -e\ncurl() { command curl -sS --noproxy '*' --fail-with-body \"$@\"; }\n" + strings.ReplaceAll(commands, "localhost:2019", r.Admin)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Env = os.Environ()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "203.0.113.7/32") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// firstFenceOf returns the first block of a language.
func firstFenceOf(text, language string) string {
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		if m[1] == language {
			return m[2]
		}
	}
	return ""
}

// scrapeAll returns all metrics of a server.
func scrapeAll(t *testing.T, r *rig.Rig) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get("http://" + r.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return families
}
