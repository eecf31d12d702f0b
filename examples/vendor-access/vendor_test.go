package vendor_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

const (
	realKey = "the-real-one"
	vendor  = `{"name":"vendor","scopes":["contacts:read"],"allow":["127.0.0.1"],"expires_at":"2090-01-31T00:00:00Z"}`
)

func TestPage(t *testing.T) {
	t.Setenv("SAAS_KEY", realKey)
	page := rig.ReadFile(t, "README.md")
	rig.NewExample(t, "Caddyfile").FollowPage(page)
}

// The SaaS gets the real key and never the vendor's, wherever the vendor puts
// it; the real one stands in no configuration, answer or log, at debug level
// too.
func TestEachSideSeesItsOwnKey(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "saas_key")
	if err := os.WriteFile(secret, []byte(realKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, placeholder := range map[string]string{"environment": "{env.SAAS_KEY}", "file": "{file." + secret + "}"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SAAS_KEY", realKey)
			e := rig.NewExample(t, "Caddyfile", "reverse_proxy localhost:9000", "reverse_proxy {$UPSTREAM}", "{env.SAAS_KEY}", placeholder)
			_, token := e.Create(vendor)

			var answers strings.Builder
			for _, headers := range [][]string{
				{"Authorization: Bearer " + token},
				{"authorization: bearer " + token, "X-Forwarded-Authorization: Bearer x"},
			} {
				got := e.Get("/v1/contacts", headers...)
				answers.Write(got.Body)
				last := e.Upstream.Last()
				if got.Status != 200 || strings.Count(last, "\r\nAuthorization: ") != 1 || !strings.Contains(last, "\r\nAuthorization: Bearer "+realKey+"\r\n") {
					t.Errorf("status %d, the SaaS got\n%s", got.Status, last)
				}
				if strings.Contains(last, token) {
					t.Errorf("the SaaS got the vendor's key\n%s", last)
				}
			}
			hits := e.Upstream.Hits()
			for _, headers := range [][]string{
				{},
				{"Authorization: Bearer " + token, "Authorization: Bearer " + realKey},
				{"Authorization: Bearer " + realKey},
				{"Authorization: Basic " + token},
				{"X-API-Key: " + token},
			} {
				got := e.Get("/v1/contacts", headers...)
				answers.Write(got.Body)
				if got.Status != 400 && got.Status != 401 {
					t.Errorf("%v: status %d", headers, got.Status)
				}
			}
			if e.Upstream.Hits() != hits {
				t.Error("a refused request reached the SaaS")
			}

			adapted, err := rig.Adapt(e.Caddyfile)
			if err != nil {
				t.Fatal(err)
			}
			for place, text := range map[string]string{
				"the adapted configuration": string(adapted),
				"the running configuration": runningConfig(t, e),
				"an answer":                 answers.String(),
				"the log":                   e.Logs(),
			} {
				if text == "" || strings.Contains(text, realKey) {
					t.Errorf("%s is empty or holds the real key", place)
				}
			}
			if !strings.Contains(e.Logs(), "upstream roundtrip") {
				t.Error("the log is not that of debug level")
			}
		})
	}
}

// Without the real key nothing is sent in its place that a SaaS might take.
func TestMissingRealKey(t *testing.T) {
	t.Setenv("SAAS_KEY", "")
	e := rig.NewExample(t, "Caddyfile", "reverse_proxy localhost:9000", "reverse_proxy {$UPSTREAM}")
	_, token := e.Create(vendor)
	e.Get("/v1/contacts", "Authorization: Bearer "+token)
	if last := e.Upstream.Last(); strings.Contains(last, token) || !strings.Contains(last, "\r\nAuthorization: Bearer") {
		t.Errorf("the SaaS got\n%s", last)
	}
}

func runningConfig(t *testing.T, e *rig.Example) string {
	t.Helper()
	resp, err := http.Get("http://" + e.Admin + "/config/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
