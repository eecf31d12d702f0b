package docs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// The commands of the page on limits work with its Caddyfile, and answers are
// what it shows.
func TestLimitsPage(t *testing.T) {
	rig.AwaitRoom(t, 24*time.Hour)
	page := read(t, "limits.md")
	caddyfile := firstFenceOf(page, "caddyfile")
	_, global, _ := strings.Cut(caddyfile, "{\n")
	global, site, _ := strings.Cut(global, "\n}\nhttp://localhost:8080 {\n")
	site = strings.TrimSuffix(strings.TrimSpace(site), "}")
	r := rig.New(t, global, strings.ReplaceAll(site, "localhost:9000", "{$UPSTREAM}"))

	for _, program := range []string{"bash", "curl", "sed"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s", program)
		}
	}
	script := "set -eu\ncurl() { command curl -sS --noproxy '*' --fail-with-body \"$@\"; }\n" +
		strings.NewReplacer("localhost:8080", r.Site, "localhost:2019", r.Admin).Replace(firstFenceOf(page, "sh")) + "\necho \"$TOKEN\" > token\n"
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	shown := regexp.MustCompile(`(?m)^RateLimit(-Policy)?: .*$`).FindAllString(page, 2)
	numbers := regexp.MustCompile(`t=\d+`)
	for _, line := range shown {
		real := regexp.MustCompile(`(?mi)^` + line[:strings.Index(line, ":")+1] + ` .*$`).FindString(string(out))
		if got, want := numbers.ReplaceAllString(strings.TrimSpace(real), "t=…"), numbers.ReplaceAllString(line, "t=…"); !strings.EqualFold(got, want) {
			t.Errorf("the answer has\n%s, the page\n%s", got, want)
		}
	}
	for _, text := range []string{`"limit":"20/1s","from":"key"`, `"limit":"10000/1h","from":"tier"`, `"limit":"1000000/month","from":"tier","shared":true`} {
		if !strings.Contains(string(out), text) {
			t.Errorf("no %s in\n%s", text, out)
		}
	}

	token, err := os.ReadFile(cmd.Dir + "/token")
	if err != nil {
		t.Fatal(err)
	}
	var answer rig.Answer
	for deadline := time.Now().Add(time.Minute); answer.Status != 429 && time.Now().Before(deadline); {
		answer = r.Get("/v1/export", "Authorization: Bearer "+strings.TrimSpace(string(token)))
	}
	refusal := strings.SplitN(page, "A refusal is\n", 2)[1]
	squeeze := strings.NewReplacer("\n", "", " ", "")
	if body := firstFenceOf(refusal, "text"); !strings.HasSuffix(squeeze.Replace(body), squeeze.Replace(string(answer.Body))) {
		t.Errorf("the body is %s", answer.Body)
	}

	for _, text := range []string{
		fmt.Sprintf("from 1s to %dh (31 days)", int(limit.MaxWindow.Hours())),
		"up to " + thousands(limit.MaxRate) + " in a window and " + thousands(limit.MaxQuota) + " in a quota",
		fmt.Sprintf("have up to %d, each of another", limit.MaxLimits),
	} {
		if !strings.Contains(strings.ReplaceAll(page, "\n", " "), text) {
			t.Errorf("the page has no %q", text)
		}
	}
}
