package llm_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

func newExample(t *testing.T, upstream string) *rig.Example {
	return rig.NewExample(t, "Caddyfile",
		"reverse_proxy localhost:11434", "reverse_proxy "+upstream, "http://localhost:11434", "http://"+rig.FreeAddr(t))
}

func TestPage(t *testing.T) {
	page := rig.ReadFile(t, "README.md")
	rig.NewExample(t, "Caddyfile", "localhost:11434", rig.FreeAddr(t)).FollowPage(page)
}

// Each event of an answer arrives before the model server sends the next one.
func TestAnswersStream(t *testing.T) {
	next := make(chan struct{})
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: {\"piece\":%d}\n\n", i)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			select {
			case <-next: // the client has it
			case <-r.Context().Done():
				return
			}
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
	}))
	defer model.Close()
	e := newExample(t, strings.TrimPrefix(model.URL, "http://"))
	_, token := e.Create(`{"name":"ada","scopes":["llm:chat"]}`)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+e.Site+"/v1/chat/completions", strings.NewReader(`{"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	event := func() string {
		for lines.Scan() {
			if lines.Text() != "" {
				return lines.Text()
			}
		}
		t.Fatalf("the answer broke off: %v", lines.Err())
		return ""
	}
	for i := range 3 {
		if got, want := event(), fmt.Sprintf(`data: {"piece":%d}`, i); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		next <- struct{}{}
	}
	if got := event(); got != "data: [DONE]" {
		t.Errorf("the last event is %q", got)
	}
}

// A key that may chat manages no models, and every refusal is an error object
// of OpenAI's form that does not repeat what was sent.
func TestScopesAndErrors(t *testing.T) {
	e := newExample(t, "{$UPSTREAM}")
	_, token := e.Create(`{"name":"ada","scopes":["llm:chat","llm:models"]}`)
	_, admin := e.Create(`{"name":"ops","scopes":["llm:*"]}`)
	for _, c := range []struct {
		method, target, token string
		status                int
		code                  string
	}{
		{"GET", "/v1/models", token, 200, ""},
		{"GET", "/v1/models/tiny", token, 200, ""},
		{"POST", "/v1/embeddings", token, 200, ""},
		{"POST", "/api/pull", admin, 200, ""},
		{"POST", "/api/pull", token, 403, "insufficient_scope"},
		{"DELETE", "/api/delete", token, 403, "insufficient_scope"},
		{"POST", "/API/pull", admin, 403, "no_rule"},
		{"DELETE", "/v1/models/tiny", token, 403, "no_rule"},
		{"GET", "/", token, 403, "no_rule"},
		{"GET", "/metrics", admin, 403, "no_rule"},
		{"POST", "/v1/models/../../api/pull", token, 400, "bad_request"},
		{"GET", "/v1/models", "sk-\"}<script>", 401, "invalid_key"},
		{"GET", "/v1/models", "", 401, "missing_credential"},
	} {
		hits := e.Upstream.Hits()
		headers := []string{}
		if c.token != "" {
			headers = append(headers, "Authorization: Bearer "+c.token)
		}
		got := e.Request(c.method, c.target, headers...)
		if got.Status != c.status || (e.Upstream.Hits() > hits) != (c.status == 200) {
			t.Errorf("%s %s: status %d, %d requests served", c.method, c.target, got.Status, e.Upstream.Hits()-hits)
			continue
		}
		if c.status == 200 {
			if last := e.Upstream.Last(); strings.Contains(last, c.token) || !strings.Contains(last, "\r\nX-Key-Id: key_") {
				t.Errorf("the model server got\n%s", last)
			}
			continue
		}
		var refusal struct {
			Error struct{ Message, Type, Code string }
		}
		if err := json.Unmarshal(got.Body, &refusal); err != nil || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %v, %s, %q", c.method, c.target, err, got.Header.Get("Content-Type"), got.Body)
		}
		if refusal.Error.Code != c.code || refusal.Error.Message == "" || refusal.Error.Type == "" || c.token != "" && strings.Contains(string(got.Body), c.token) {
			t.Errorf("%s %s: %s", c.method, c.target, got.Body)
		}
	}
}
