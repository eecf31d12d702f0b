package hapikey_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

const oldKey = "5d0f6e9a-3c41-4b7e-9a58-1f2c7d8e6b03"

// beyondHint is more of a token than the hint by which the trail names it, whose
// entries are in the log, too.
var beyondHint = regexp.MustCompile(`ck_[0-9A-Za-z]{5}`)

// The page tells the whole story; the logs that it has the reader search hold
// no key.
func TestPage(t *testing.T) {
	page := rig.ReadFile(t, "README.md")
	e := rig.NewExample(t, "Caddyfile")
	e.FollowPage(page)
	for _, log := range []string{"caddy.log", "access.log"} {
		text := rig.ReadFile(t, log)
		if strings.Contains(text, oldKey) || beyondHint.MatchString(text) {
			t.Errorf("%s holds a key", log)
		}
		if !strings.Contains(text, "/contacts") {
			t.Errorf("%s tells of no request", log)
		}
	}
}

// Once it is enforced, nothing of the old key reaches the API, wherever a
// caller puts it.
func TestUpstreamGetsNoKey(t *testing.T) {
	e := rig.NewExample(t, "Caddyfile", "reverse_proxy localhost:9000", "reverse_proxy {$UPSTREAM}", "mode observe", "mode enforce")
	answer := e.Manage("POST", "/import", `{"keys":[{"name":"old","token":"`+oldKey+`","scopes":["*"]}]}`)
	if answer.Status != 200 {
		t.Fatalf("import: %d %s", answer.Status, answer.Body)
	}
	for target, want := range map[string]string{
		"/contacts?hapikey=" + oldKey:                "GET /contacts HTTP",
		"/contacts?a=1&hapikey=" + oldKey + "&b=%20": "GET /contacts?a=1&b=%20 HTTP",
		"/settings?hapikey=" + oldKey + "&a=1":       "GET /settings?a=1 HTTP",
	} {
		got := e.Get(target, "Referer: http://localhost/?hapikey="+oldKey)
		if last := e.Upstream.Last(); got.Status != 200 || !strings.HasPrefix(last, want) || strings.Contains(last, oldKey) {
			t.Errorf("%s: status %d, upstream got\n%s", target, got.Status, last)
		}
	}
	hits := e.Upstream.Hits()
	for _, target := range []string{
		"/contacts?hapikey=" + oldKey + "&hapikey=" + oldKey,
		"/contacts?HAPIKEY=" + oldKey,
		"/contacts?%68apikey=" + oldKey,
		"/contacts?key=" + oldKey,
	} {
		if got := e.Get(target); got.Status != 400 && got.Status != 401 {
			t.Errorf("%s: status %d", target, got.Status)
		}
	}
	if e.Upstream.Hits() != hits {
		t.Error("a refused request reached the API")
	}
}
