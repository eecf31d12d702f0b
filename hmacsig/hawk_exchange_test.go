package hmacsig

import (
	"errors"
	"net/http"
	"testing"
)

// Only a refusal tells the time, and two Server-Authorization fields are none.
func TestHawkExchange(t *testing.T) {
	key := hawkTestKey(t)
	signer := &HawkSigner{ID: "k", Key: key}
	req, err := http.NewRequest("GET", "http://a.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange, err := signer.SignAt(req, hawkTestNow)
	if err != nil {
		t.Fatal(err)
	}
	claim, err := ParseHawk(req.Header.Get("Authorization"))
	if err != nil {
		t.Fatal(err)
	}
	proof, err := claim.Verify(key, &Request{Method: "GET", Scheme: "http", Authority: "a.example", Target: "/"})
	if err != nil {
		t.Fatal(err)
	}
	stale := http.Header{"Www-Authenticate": {"Basic", "Hawk", proof.StaleChallenge(hawkTestNow)}}
	for status, want := range map[int]bool{401: true, 200: false, 403: false, 503: false} {
		now, ok := exchange.Clock(&http.Response{StatusCode: status, Header: stale})
		if ok != want || ok && !now.Equal(hawkTestNow) {
			t.Errorf("%d tells the time: %v %v", status, ok, now)
		}
	}
	value, err := proof.ServerAuthorization(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, values := range [][]string{{value}, {value, value}, {value, "Hawk"}} {
		err := exchange.Check(&http.Response{StatusCode: 200, Header: http.Header{"Server-Authorization": values}})
		if (err == nil) != (len(values) == 1) {
			t.Errorf("%d fields: %v", len(values), err)
		}
	}
}

func TestTransportChecksAnswers(t *testing.T) {
	s := newHawkServer(t)
	honest := s.sign
	for _, c := range []struct {
		name     string
		sign     func(*HawkProof, []byte) (string, error)
		required bool
		want     error
	}{
		{"signed", honest, true, nil},
		{"bare", func(p *HawkProof, _ []byte) (string, error) { return p.ServerAuthorization(nil, "") }, true, nil},
		{"none", func(*HawkProof, []byte) (string, error) { return "", nil }, false, nil},
		{"none, but required", func(*HawkProof, []byte) (string, error) { return "", nil }, true, ErrCoverage},
		{"another body", func(p *HawkProof, _ []byte) (string, error) { return honest(p, []byte("other")) }, false, ErrDigest},
		{"another request", func(p *HawkProof, body []byte) (string, error) {
			q := *p
			q.signed.nonce = "other"
			return honest(&q, body)
		}, false, ErrSignature},
		{"another key", func(p *HawkProof, body []byte) (string, error) {
			q := *p
			q.key = Key{secret: []byte("sixteen bytes or more")}
			return honest(&q, body)
		}, false, ErrSignature},
		{"malformed", func(*HawkProof, []byte) (string, error) { return `Hawk mac="m", ts="1"`, nil }, false, ErrSyntax},
		{"no mac", func(*HawkProof, []byte) (string, error) { return `Hawk ext="e"`, nil }, false, ErrSignature},
		{"another scheme", func(*HawkProof, []byte) (string, error) { return `Bearer x`, nil }, false, ErrNotHawk},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.sign = c.sign
			client, _ := hawkClient(t, s, c.required)
			if _, _, err := talk(t, client, "GET", s.URL, nil); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}
