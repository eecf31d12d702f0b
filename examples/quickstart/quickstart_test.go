package quickstart_test

import (
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// What the two pages tell a newcomer to do does what they say.
func TestExampleRuns(t *testing.T) {
	for _, page := range []string{"README.md", "../../README.md"} {
		t.Run(page, func(t *testing.T) {
			text := rig.ReadFile(t, page)
			rig.NewExample(t, "Caddyfile").FollowPage(text)
		})
	}
}

// The page in front shows the same Caddyfile.
func TestFrontPageShowsTheExample(t *testing.T) {
	site, _, _ := strings.Cut(rig.ReadFile(t, "Caddyfile"), "\n\n")
	if page := rig.ReadFile(t, "../../README.md"); !strings.Contains(page, "```caddyfile\n"+site+"\n```") {
		t.Errorf("README.md does not have the site of the quickstart:\n%s", site)
	}
}
