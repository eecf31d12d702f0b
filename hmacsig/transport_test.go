package hmacsig

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func hawkClient(t *testing.T, s *hawkServer, requireAnswer bool) (*http.Client, *Transport) {
	t.Helper()
	transport := &Transport{
		Signer:  &HawkSigner{ID: "dh37fgj492je", Key: hawkTestKey(t), Ext: "org", RequireAnswer: requireAnswer},
		Origins: []string{s.URL},
	}
	return &http.Client{Transport: transport, Timeout: time.Minute}, transport
}

func wantNotes(t *testing.T, s *hawkServer, want ...string) {
	t.Helper()
	if got := s.notes(); !slices.Equal(got, want) {
		t.Errorf("the server saw %q, want %q", got, want)
	}
}

// talk sends a request and returns the answer's status and body.
func talk(t *testing.T, c *http.Client, method, url string, body io.Reader) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	answer, err := c.Do(req)
	if len(req.Header["Authorization"]) > 0 {
		t.Error("the caller's request was changed")
	}
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func TestTransport(t *testing.T) {
	s := newHawkServer(t)
	c, _ := hawkClient(t, s, true)
	for _, path := range []string{"/", "/a%2Fb/%E2%82%AC?q=%C3%BC+x&q=1&", "/a;v=1?", "//a/../b?x=?y#fragment"} {
		status, body, err := talk(t, c, "GET", s.URL+path, nil)
		if err != nil || status != 200 || body != "you said " {
			t.Errorf("GET %s: %d %q %v", path, status, body, err)
		}
		s.notes()
	}
	for name, body := range map[string]io.Reader{
		"replayable": strings.NewReader(`{"a":1}`),
		"stream":     io.MultiReader(strings.NewReader(`{"a"`), strings.NewReader(":1}")),
	} {
		status, text, err := talk(t, c, "POST", s.URL+"/p", body)
		if err != nil || status != 200 || text != `you said {"a":1}` {
			t.Errorf("POST %s: %d %q %v", name, status, text, err)
		}
		wantNotes(t, s, "OK", `POST /p {"a":1}`)
	}
	status, _, err := talk(t, c, "POST", s.URL+"/p", io.MultiReader())
	if err != nil || status != 200 {
		t.Errorf("POST of an empty stream: %d %v", status, err)
	}
	wantNotes(t, s, "OK", "POST /p ")
	if status, _, err := talk(t, c, "HEAD", s.URL+"/", nil); err != nil || status != 200 {
		t.Errorf("HEAD: %d %v", status, err)
	}
}

func TestTransportRepairsTheClock(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -30 * 24 * time.Hour} {
		s := newHawkServer(t)
		s.clock = ahead
		c, transport := hawkClient(t, s, true)
		for name, body := range map[string]io.Reader{
			"replayable": strings.NewReader("x"), "stream": io.MultiReader(strings.NewReader("x")),
		} {
			transport.offset.Store(0)
			status, text, err := talk(t, c, "POST", s.URL, body)
			if err != nil || status != 200 || text != "you said x" {
				t.Errorf("%v ahead, %s: %d %q %v", ahead, name, status, text, err)
			}
			wantNotes(t, s, "Unauthorized", "OK", "POST / x")
		}
		if _, _, err := talk(t, c, "GET", s.URL, nil); err != nil {
			t.Error(err)
		}
		wantNotes(t, s, "OK", "GET / ") // the clock stays repaired
	}
}

// A time that the key's owner did not sign repairs nothing, and the refusal is
// the caller's to see. One repair is all there is.
func TestTransportTrustsNoOtherClock(t *testing.T) {
	other, err := SecretKey([]byte("sixteen bytes or more"))
	if err != nil {
		t.Fatal(err)
	}
	key, hits, value := hawkTestKey(t), 0, ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		w.Header().Set("WWW-Authenticate", value)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer s.Close()
	for _, c := range []struct {
		name, value string
		hits        int
	}{
		{"another key", (&HawkProof{key: other}).StaleChallenge(hawkTestNow), 1},
		{"no signature", `Hawk ts="1353832234", error="Stale timestamp"`, 1},
		{"another time", strings.Replace((&HawkProof{key: key}).StaleChallenge(hawkTestNow), "1353832234", "1353832235", 1), 1},
		{"no challenge", "", 1},
		{"the key's, for ever", (&HawkProof{key: key}).StaleChallenge(hawkTestNow), 2},
	} {
		hits, value = 0, c.value
		client := &http.Client{Transport: &Transport{Signer: &HawkSigner{ID: "k", Key: key}, Origins: []string{s.URL}}}
		status, _, err := talk(t, client, "GET", s.URL, nil)
		if err != nil || status != 401 || hits != c.hits {
			t.Errorf("%s: %d %v after %d requests, want 401 after %d", c.name, status, err, hits, c.hits)
		}
	}
}

// A request to an origin that is not listed leaves nothing there, and closes its
// body.
func TestTransportOrigins(t *testing.T) {
	s := newHawkServer(t)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request came to another host") }))
	defer other.Close()
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL+"/", http.StatusTemporaryRedirect)
		case "/here":
			http.Redirect(w, r, "/end", http.StatusTemporaryRedirect)
		}
	}
	c, transport := hawkClient(t, s, false)
	if _, _, err := talk(t, c, "POST", s.URL+"/away", strings.NewReader("x")); err == nil {
		t.Error("a redirect to another host was followed")
	}
	s.notes()
	if status, _, err := talk(t, c, "POST", s.URL+"/here", strings.NewReader("x")); err != nil || status != 200 {
		t.Errorf("a redirect to the same host: %d %v", status, err)
	}
	wantNotes(t, s, "OK", "POST /here x", "OK", "POST /end x")

	for _, origins := range [][]string{nil, {""}, {"/"}, {"https" + strings.TrimPrefix(s.URL, "http")}, {"http://127.0.0.1"}, {s.URL + "0"}, {"%"}} {
		transport.Origins = origins
		body := &closingBody{Reader: strings.NewReader("x")}
		if _, _, err := talk(t, c, "POST", s.URL, body); err == nil || !body.closed {
			t.Errorf("origins %q: error %v, body closed %v", origins, err, body.closed)
		}
	}
	wantNotes(t, s)
	for _, origin := range []string{s.URL + "/path", "HTTP" + strings.TrimPrefix(s.URL, "http")} {
		transport.Origins = []string{"https://a.example", origin}
		if _, _, err := talk(t, c, "GET", s.URL, nil); err != nil {
			t.Errorf("%s: %v", origin, err)
		}
	}
}

type closingBody struct {
	io.Reader
	closed bool
}

func (b *closingBody) Close() error { b.closed = true; return nil }

func TestTransportRefusesToSign(t *testing.T) {
	s := newHawkServer(t)
	good := HawkSigner{ID: "dh37fgj492je", Key: hawkTestKey(t)}
	for name, c := range map[string]struct {
		signer func(*HawkSigner)
		req    func(*http.Request)
	}{
		"no id":               {signer: func(s *HawkSigner) { s.ID = "" }},
		"id with a quote":     {signer: func(s *HawkSigner) { s.ID = `a"` }},
		"ext with a break":    {signer: func(s *HawkSigner) { s.Ext = "a\nb" }},
		"long ext":            {signer: func(s *HawkSigner) { s.Ext = strings.Repeat("x", MaxHawk) }},
		"no key":              {signer: func(s *HawkSigner) { s.Key = Key{} }},
		"other credentials":   {req: func(r *http.Request) { r.SetBasicAuth("a", "b") }},
		"host not ASCII":      {req: func(r *http.Request) { r.Host = "bücher.example" }},
		"query not encoded":   {req: func(r *http.Request) { r.URL.RawQuery = "ü" }},
		"two content types":   {req: func(r *http.Request) { r.Header["Content-Type"] = []string{"a/b", "c/d"} }},
		"body over the limit": {req: func(r *http.Request) { r.Body, r.GetBody = io.NopCloser(io.LimitReader(endless{}, maxKeptBody+1)), nil }},
		"broken body":         {req: func(r *http.Request) { r.Body, r.GetBody = io.NopCloser(brokenBody{}), nil }},
	} {
		t.Run(name, func(t *testing.T) {
			signer := good
			if c.signer != nil {
				c.signer(&signer)
			}
			req, err := http.NewRequest("POST", s.URL, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			if c.req != nil {
				c.req(req)
			}
			answer, err := (&Transport{Signer: &signer, Origins: []string{s.URL}}).RoundTrip(req)
			if err == nil {
				answer.Body.Close()
				t.Error("the request was sent")
			}
			wantNotes(t, s)
		})
	}
	req := httptest.NewRequest("POST", s.URL, nil)
	req.Body = io.NopCloser(strings.NewReader("x"))
	if _, err := good.SignAt(req, time.Now()); err == nil {
		t.Error("a body that can be read only once was signed")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// No two signatures have one nonce, and a nonce has 128 bits or more.
func TestHawkNonces(t *testing.T) {
	signer, seen := &HawkSigner{ID: "k", Key: hawkTestKey(t)}, map[string]bool{}
	for range 1000 {
		claim, _ := hawkSigned(t, signer, "GET", "http://a.example/", "")
		if seen[claim.nonce] || len(claim.nonce) < 26 { // base32: 5 bits a character
			t.Fatalf("nonce %q", claim.nonce)
		}
		seen[claim.nonce] = true
	}
}
