package caddyapikey

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestStripHeaders(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before http.Header
		after  http.Header
	}{
		{"bearer", http.Header{"Authorization": {"Bearer " + readKey}, "Accept": {"*/*"}}, http.Header{"Accept": {"*/*"}}},
		{"basic", http.Header{"Authorization": {basic("u:" + readKey)}}, http.Header{}},
		{"header", http.Header{"X-Api-Key": {readKey}, "Authorization": {"Digest x"}}, http.Header{"Authorization": {"Digest x"}}},
		{"only cookie", http.Header{"Cookie": {"api_key=" + readKey}}, http.Header{}},
		{"only cookie and blanks", http.Header{"Cookie": {"; api_key=" + readKey + " ;"}}, http.Header{}},
		{"first cookie", http.Header{"Cookie": {"api_key=" + readKey + "; b=2;c"}}, http.Header{"Cookie": {"b=2;c"}}},
		{"inner cookie", http.Header{"Cookie": {"a=1;  api_key=" + readKey + "; b=\"2\""}}, http.Header{"Cookie": {"a=1; b=\"2\""}}},
		{"last cookie", http.Header{"Cookie": {"a=1; api_key=" + readKey}}, http.Header{"Cookie": {"a=1"}}},
		{"cookie on a second line", http.Header{"Cookie": {"a=1", "api_key=" + readKey}}, http.Header{"Cookie": {"a=1"}}},
		{"cookie between lines", http.Header{"Cookie": {"a=1", "api_key=" + readKey + "; x", "b=2"}}, http.Header{"Cookie": {"a=1", "x", "b=2"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &http.Request{URL: new(url.URL), Header: tc.before}
			f, result := extract(r, everywhere)
			if result != extractOne {
				t.Fatal(result)
			}
			strip(r, f, everywhere)
			if !maps.EqualFunc(r.Header, tc.after, slices.Equal) {
				t.Errorf("left %q, want %q", r.Header, tc.after)
			}
		})
	}
}

func TestStripQuery(t *testing.T) {
	for _, tc := range []struct{ target, want string }{
		{"/x?api_key=R", "/x"},
		{"/x?api_key=R&", "/x"},
		{"/x?&api_key=R", "/x"},
		{"/x?api_key=R&a=1&b=2", "/x?a=1&b=2"},
		{"/x?a=1&api_key=R&b=2", "/x?a=1&b=2"},
		{"/x?b=2&a=1&api_key=R", "/x?b=2&a=1"},
		{"/x?a=%zz&api_key=R&;b=+%20%2F&&c&a=?", "/x?a=%zz&;b=+%20%2F&&c&a=?"},
		{"/x?api_key=%52&q=api_key%3DR", "/x?q=api_key%3DR"},
		{"http://api.example.com/x%2fy?api_key=R", "http://api.example.com/x%2fy"},
	} {
		r := readRequest(t, "GET "+tc.target+" HTTP/1.1\nAccept: */*")
		f, result := extract(r, everywhere)
		if result != extractOne {
			t.Fatalf("%s: %v", tc.target, result)
		}
		strip(r, f, everywhere)
		_, query, _ := strings.Cut(tc.want, "?")
		if r.RequestURI != tc.want || r.URL.RawQuery != query {
			t.Errorf("%s: RequestURI %q, RawQuery %q; want %q", tc.target, r.RequestURI, r.URL.RawQuery, tc.want)
		}
		if _, result := extract(r, everywhere); result != extractNone {
			t.Errorf("%s: %v after stripping", tc.target, result)
		}
	}
}

// A handler that changed the URL without RequestURI must not make the token survive there.
func TestStripStaleRequestURI(t *testing.T) {
	r := &http.Request{URL: &url.URL{Path: "/v1/x", RawQuery: "api_key=R&a=1"}, RequestURI: "/api/v1/x?api_key=R"}
	f, _ := extract(r, everywhere)
	strip(r, f, everywhere)
	if r.RequestURI != "/v1/x?a=1" {
		t.Errorf("RequestURI %q", r.RequestURI)
	}
	r = &http.Request{URL: &url.URL{Path: "/x", RawQuery: "api_key=R"}}
	f, _ = extract(r, everywhere)
	strip(r, f, everywhere)
	if r.RequestURI != "" || r.URL.RawQuery != "" {
		t.Errorf("RequestURI %q, RawQuery %q", r.RequestURI, r.URL.RawQuery)
	}
}

func TestStripReferer(t *testing.T) {
	const site = "https://app.example.com/page"
	for _, tc := range []struct {
		name    string
		referer []string
		kept    bool
	}{
		{"none", nil, true},
		{"plain", []string{site + "?a=1"}, true},
		{"another query", []string{site + "?api_keys=1&x=%zz"}, true},
		{"the parameter", []string{site + "?a=1&api_key=" + adminKey}, false},
		{"the parameter, encoded", []string{site + "?api%5Fkey=" + adminKey}, false},
		{"the token in the path", []string{site + "/" + readKey}, false},
		{"the token in a fragment", []string{site + "#" + readKey}, false},
		{"the token, encoded", []string{site + "?k=ck%5F" + readKey[3:]}, false},
		{"the token, encoded twice", []string{site + "?k=ck%255F" + readKey[3:]}, false},
		{"the token, beside a bad escape", []string{site + "?x=%zz&k=ck%5f" + readKey[3:]}, false},
		{"on a second line", []string{site, site + "?" + readKey}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &http.Request{URL: new(url.URL), Header: http.Header{"Authorization": {"Bearer " + readKey}}}
			if tc.referer != nil {
				r.Header["Referer"] = tc.referer
			}
			f, _ := extract(r, everywhere)
			strip(r, f, everywhere)
			if kept := slices.Equal(r.Header["Referer"], tc.referer); kept != tc.kept {
				t.Errorf("kept %t, want %t", kept, tc.kept)
			}
		})
	}
}

// Copies of a request, such as the one kept for the access log, share lines or the whole header with it.
func TestStripKeepsCopies(t *testing.T) {
	r := readRequest(t, "GET /x?a=1 HTTP/1.1\nCookie: a=1; api_key="+readKey+"; b=2\nReferer: https://a/"+readKey)
	lines := r.Header["Cookie"]
	shallow := maps.Clone(r.Header)
	logged := r.Clone(context.Background())
	f, _ := extract(r, everywhere)
	strip(r, f, everywhere)
	if got := r.Header["Cookie"]; len(got) != 1 || got[0] != "a=1; b=2" {
		t.Fatalf("left %q", got)
	}
	want := []string{"a=1; api_key=" + readKey + "; b=2"}
	if !slices.Equal(lines, want) || !slices.Equal(shallow["Cookie"], want) || !slices.Equal(logged.Header["Cookie"], want) || logged.Header.Get("Referer") == "" {
		t.Errorf("a copy was changed: %q, %q, %q", lines, shallow, logged.Header)
	}
	strip(r, found{}, everywhere) // nothing accepted, nothing removed
	if len(r.Header) != 1 {
		t.Errorf("left %q", r.Header)
	}
}

func TestHeaderOwner(t *testing.T) {
	o := newHeaderOwner([]string{"X-Consumer-Id", "X-Org_Name", "Remote.User"})
	owned := []string{
		"X-Consumer-Id", "x-consumer-id", "X_Consumer_Id", "X.consumer.id", "X-Consumer_id", "X_CONSUMER.ID",
		"X-Org-Name", "X_Org_Name", "Remote-User", "REMOTE_USER", "Remote.User",
	}
	others := []string{"X-Consumer-Ids", "X-Consumer", "XConsumer-Id", "X-Consumer-Io", "", "A", "Authorization", strings.Repeat("x", 500), "X\u2010Consumer\u2010Id"}
	h := http.Header{}
	for _, name := range slices.Concat(owned, others) {
		h[name] = []string{"x", "y"}
	}
	o.remove(h)
	for _, name := range owned {
		if _, ok := h[name]; ok {
			t.Errorf("%q was left", name)
		}
	}
	for _, name := range others {
		if len(h[name]) != 2 {
			t.Errorf("%q was removed", name)
		}
	}
	var none headerOwner
	none.remove(h)
	o.remove(nil)
	if len(h) != len(others) {
		t.Errorf("left %q", h)
	}
	if n := testing.AllocsPerRun(100, func() { o.remove(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkStripBearer(b *testing.B) {
	r := typicalRequest(b)
	sources := []Source{fromBearer, fromHeader}
	f, _ := extract(r, sources)
	lines := r.Header["Authorization"]
	b.ReportAllocs()
	for b.Loop() {
		r.Header["Authorization"] = lines
		strip(r, f, sources)
	}
}

// FuzzQueryStrip: stripping removes the one parameter and no byte beside it.
func FuzzQueryStrip(f *testing.F) {
	for _, seed := range []string{
		"api_key=R", "a=1&api_key=R&b=2", "&&api_key=R&", "a;b&api_key=%41&%zz", "api_key=R&api_key=A", "api_key", "x=api_key&api_key=?",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := &http.Request{URL: &url.URL{Path: "/x", RawQuery: query}, RequestURI: "/x?" + query}
		found, result := extract(r, []Source{fromQuery})
		if result != extractOne {
			return
		}
		strip(r, found, []Source{fromQuery})
		var want []string
		for pair := range strings.SplitSeq(query, "&") {
			if name, _, _ := strings.Cut(pair, "="); name != "api_key" {
				want = append(want, pair)
			}
		}
		if got := strings.Join(want, "&"); r.URL.RawQuery != got {
			t.Errorf("%q became %q, want %q", query, r.URL.RawQuery, got)
		}
		if got := r.URL.RequestURI(); r.RequestURI != got {
			t.Errorf("%q: RequestURI %q, URL %q", query, r.RequestURI, got)
		}
	})
}
