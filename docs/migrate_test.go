package docs_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

const (
	partnerA = "Jd7Qm2xWk9RtVb4Ns8Yc3Hf6"
	partnerB = "Kq4Zt8Pw1Xn6Rb3Mv9Ls5Gd2"
)

// example runs one of the page's Caddyfiles, in front of the rig's upstream.
func example(t *testing.T, caddyfile string, replace ...string) *rig.Example {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	return rig.NewExample(t, file, append(replace, "localhost:9000", "{$UPSTREAM}")...)
}

// The switch from a header matcher, as the page has it: callers with a key
// notice nothing, those without get in at no time.
func TestSwitchFromHeaderMatcher(t *testing.T) {
	page := read(t, "migrate.md")
	steps := fence.FindAllStringSubmatch(section(page, "## A header matcher"), -1)
	if len(steps) != 3 {
		t.Fatalf("%d Caddyfiles, want before, watching and after", len(steps))
	}
	e := example(t, steps[0][2])
	check := func(step string) {
		t.Helper()
		for key, status := range map[string]int{partnerA: 200, partnerB: 200, "Kq4Zt8Pw1Xn6Rb3Mv9Ls5Gd3": 401} {
			if got := e.Get("/", "X-API-Key: "+key); got.Status != status {
				t.Errorf("%s: status %d, want %d", step, got.Status, status)
			}
		}
		if got := e.Get("/"); got.Status != 401 {
			t.Errorf("%s: without a key status %d", step, got.Status)
		}
	}
	check("before")

	// A caller that never stops.
	caller, err := http.NewRequest("GET", "http://"+e.Site+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	caller.Header.Set("X-API-Key", partnerA)
	stop, callers := make(chan struct{}), sync.WaitGroup{}
	callers.Go(func() {
		for served, closed := 0, 0; ; {
			select {
			case <-stop:
				if served == 0 {
					t.Error("the caller was never served")
				}
				return
			default:
			}
			got, err := rig.Read(http.DefaultClient.Do(caller.Clone(t.Context())))
			// Caddy closes connections that a reload found not yet accepted.
			if (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)) && closed < 5 {
				closed++
				continue
			}
			if err != nil || got.Status != 200 {
				t.Errorf("a caller got %d, %v during the switch, after %d requests", got.Status, err, served)
				return
			}
			served, closed = served+1, 0
		}
	})
	// The old guard still decides when the new one has no key yet.
	e.Reload(steps[1][2])
	check("watching, before the import")
	e.FollowPage(section(page, "## Importing"))
	check("watching")
	if !strings.Contains(e.Logs(), `"would be refused"`) {
		t.Error("the log does not say what would be refused")
	}
	e.Reload(steps[2][2])
	check("after")
	close(stop)
	callers.Wait()
	// A connection that the server before accepted last may be served now.
	deadline := time.Now().Add(20 * time.Second)
	for last := e.Upstream.Last(); strings.Contains(last, partnerA) || strings.Contains(last, partnerB); last = e.Upstream.Last() {
		if time.Now().After(deadline) {
			t.Fatalf("the upstream gets a key\n%s", last)
		}
		e.Get("/", "X-API-Key: "+partnerA)
	}
}

// New keys beside an old guard: each decides about its own callers, and a key
// of ours that is refused does not get a second chance at the old guard.
func TestBesideAnOldGuard(t *testing.T) {
	asked := make(chan string, 16)
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("X-Api-Key")
		if r.Header.Get("X-Api-Key") != "old" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer old.Close()
	blocks := fence.FindAllStringSubmatch(section(read(t, "migrate.md"), "## Keys that cannot be imported"), -1)
	e := example(t, blocks[0][2], "localhost:9091", strings.TrimPrefix(old.URL, "http://"))
	id, token := e.Create(`{"name":"new","scopes":["contacts:read"]}`)
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{[]string{"X-API-Key: old"}, 200},
		{[]string{"X-API-Key: " + token}, 200},
		{nil, 401},
		{[]string{"X-API-Key: other"}, 401},
		{[]string{"X-API-Key: " + token[:len(token)-1] + "_"}, 401},
		{[]string{"X-API-Key: " + token, "X-API-Key: old"}, 400},
		{[]string{"X-API-Key: old", "X-API-Key: " + token}, 400},
	} {
		if got := e.Get("/", c.headers...); got.Status != c.status {
			t.Errorf("%v: status %d, want %d", c.headers, got.Status, c.status)
		}
	}
	e.Manage("POST", "/keys/"+id+"/revoke", "")
	if got := e.Get("/", "X-API-Key: "+token); got.Status != 401 {
		t.Errorf("revoked: status %d", got.Status)
	}
	close(asked)
	for key := range asked {
		if strings.HasPrefix(key, "ck_") {
			t.Error("the old guard was asked about a new key")
		}
	}
}
