package saas_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/mholt/caddy-ratelimit"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

func TestPage(t *testing.T) {
	page := rig.ReadFile(t, "README.md")
	rig.NewExample(t, "Caddyfile").FollowPage(page)
}

// from sends requests from one address of the loopback network.
type from struct {
	t      *testing.T
	url    string
	client *http.Client
}

func newFrom(t *testing.T, e *rig.Example, addr string) *from {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, e.Site)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &from{t, "http://" + e.Site + "/v1/contacts", &http.Client{Transport: transport, Timeout: time.Minute}}
}

// get returns the status, and Retry-After in seconds, 0 if there is none.
func (f *from) get(token string) (status, retry int) {
	f.t.Helper()
	req, err := http.NewRequest("GET", f.url, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	for _, name := range []string{"RateLimit", "RateLimit-Policy"} {
		if resp.Header.Get(name) != "" {
			f.t.Errorf("%s: %s, which nobody knows", name, resp.Header.Get(name))
		}
	}
	retry, _ = strconv.Atoi(resp.Header.Get("Retry-After"))
	return resp.StatusCode, retry
}

// wants sends n requests that must get the status.
func (f *from) wants(what, token string, n, want int) (retry int) {
	f.t.Helper()
	for i := range n {
		var status int
		if status, retry = f.get(token); status != want {
			f.t.Fatalf("%s, request %d: status %d, want %d", what, i+1, status, want)
		}
	}
	return retry
}

// org makes an organisation with two keys.
func org(e *rig.Example, t *testing.T, name, spec string) (first, second string) {
	t.Helper()
	if answer := e.Manage("PUT", "/orgs/"+name, spec); answer.Status/100 != 2 {
		t.Fatalf("%s", answer.Body)
	}
	key := fmt.Sprintf(`{"name":"CRM","org":%q,"scopes":["contacts:read"]}`, name)
	_, first = e.Create(key)
	_, second = e.Create(key)
	return first, second
}

// 200 requests in a minute per organisation, over all of its keys and addresses.
func TestOrganisations(t *testing.T) {
	e := rig.NewExample(t, "Caddyfile")
	a1, a2 := org(e, t, "acme", `{}`)
	b1, _ := org(e, t, "beta", `{}`)
	gold, _ := org(e, t, "rich", `{"tier":"gold"}`)
	_, lone := e.Create(`{"name":"alone","scopes":["contacts:read"]}`)
	_, other := e.Create(`{"name":"also alone","scopes":["contacts:read"]}`)
	one, two := newFrom(t, e, "127.0.0.11"), newFrom(t, e, "127.0.0.12")

	one.wants("refused keys take nothing", a1+"x", 250, 401)
	one.wants("its first key", a1, 120, 200)
	two.wants("its other key, from elsewhere", a2, 80, 200)
	if retry := two.wants("one too many", a1, 1, 429); retry < 1 || retry > 60 {
		t.Errorf("Retry-After %d, want up to a minute", retry)
	}
	one.wants("its other key, too", a2, 1, 429)
	one.wants("another organisation", b1, 1, 200)
	two.wants("the other tier", gold, 201, 200)
	one.wants("keys of no organisation", lone, 200, 200)
	one.wants("each has its own", lone, 1, 429)
	one.wants("each has its own", other, 1, 200)
}

// A refusal ends when the minute is over, which here is a shorter one.
func TestUntilTheMinuteIsOver(t *testing.T) {
	e := rig.NewExample(t, "Caddyfile", "window 1m", "window 10s", "events 200", "events 20")
	token, _ := org(e, t, "acme", `{}`)
	client := newFrom(t, e, "127.0.0.11")
	client.wants("allowed", token, 20, 200)
	client.wants("one too many", token, 1, 429)
	deadline := time.Now().Add(time.Minute)
	for status := 0; status != 200; {
		if time.Now().After(deadline) {
			t.Fatal("refused long after the window")
		}
		if status, _ = client.get(token); status == 429 {
			time.Sleep(20 * time.Millisecond) // the window has no signal
		}
	}
}

// 1,000 requests in a minute from one address, whatever they are, then it is
// locked for 15 minutes, and no other one.
func TestAddresses(t *testing.T) {
	e := rig.NewExample(t, "Caddyfile", "1000 in 1m", "1000 in 10m") // a slow machine takes longer for them
	one, two := newFrom(t, e, "127.0.0.21"), newFrom(t, e, "127.0.0.22")
	var tokens []string
	for i := range 5 {
		token, _ := org(e, t, fmt.Sprintf("org%d", i), `{}`)
		tokens = append(tokens, token)
		one.wants("within all limits", token, 200, 200)
	}
	fresh, _ := org(e, t, "fresh", `{}`)
	if retry := one.wants("the 1,001st", fresh, 1, 429); retry < 895 || retry > 900 {
		t.Errorf("Retry-After %d, want 15 minutes", retry)
	}
	one.wants("without a key", "", 1, 429)
	two.wants("another address", fresh, 1, 200)

	// Refusals count as well.
	three := newFrom(t, e, "127.0.0.23")
	three.wants("no key", "", 500, 401)
	three.wants("over the organisation's limit", tokens[0], 500, 429)
	if retry := three.wants("locked", fresh, 1, 429); retry < 895 {
		t.Errorf("Retry-After %d, want 15 minutes", retry)
	}
	for _, text := range []string{"a rate limit zone", "share one limit"} {
		if strings.Contains(e.Logs(), text) {
			t.Errorf("the start warns: %s", text)
		}
	}
}
