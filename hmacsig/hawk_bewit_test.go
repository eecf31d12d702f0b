package hmacsig

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestHawkBewit(t *testing.T) {
	signer := &HawkSigner{ID: "k", Key: hawkTestKey(t), Ext: "e"}
	for _, query := range []string{"", "?", "?a=1", "?a=1&&b", "?bewi=1&xbewit=2", "?q=bewit%3D"} {
		u, err := url.Parse("https://a.example/x%2f" + query)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Bewit(u, hawkTestNow.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{"GET", "HEAD"} {
			r := &Request{Method: method, Scheme: "https", Authority: "a.example", Target: signed.RequestURI()}
			claim, err := ParseHawkBewit(r)
			if err != nil {
				t.Fatalf("%s: %v", r.Target, err)
			}
			proof, err := claim.Verify(signer.Key, r)
			if err != nil || proof.Target() != u.RequestURI() || proof.ID() != "k" || proof.Ext() != "e" {
				t.Errorf("%s: %+v %v", r.Target, proof, err)
			}
		}
		if _, err := signer.Bewit(signed, hawkTestNow); err == nil {
			t.Errorf("%s has two bewits", signed)
		}
	}
	for _, bad := range []string{"https://a.example/" + strings.Repeat("x", MaxHawk-50), "ftp://a.example/", "https://bücher.example/"} {
		u, err := url.Parse(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signer.Bewit(u, hawkTestNow); err == nil {
			t.Errorf("signed %.40s", bad)
		}
	}
}

func TestHawkBewitIsBoundToTheURL(t *testing.T) {
	signer := &HawkSigner{ID: "k", Key: hawkTestKey(t)}
	until := hawkTestNow.Add(time.Hour)
	u, err := url.Parse("https://a.example/x?a=1")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Bewit(u, until)
	if err != nil {
		t.Fatal(err)
	}
	target := signed.RequestURI()
	_, bewit, _ := strings.Cut(target, "bewit=")
	loose := []byte(bewit) // the last character has bits that no byte takes
	loose[len(loose)-1]++
	for name, c := range map[string]struct {
		change func(*Request)
		key    Key
		want   error
	}{
		"as it is":         {func(*Request) {}, signer.Key, nil},
		"bewit first":      {func(r *Request) { r.Target = "/x?bewit=" + bewit + "&a=1" }, signer.Key, nil},
		"method":           {func(r *Request) { r.Method = "POST" }, signer.Key, ErrCoverage},
		"other credential": {func(r *Request) { r.Header = http.Header{"Authorization": {""}} }, signer.Key, ErrSyntax},
		"empty parameter":  {func(r *Request) { r.Target += "&" }, signer.Key, ErrSyntax},
		"one more":         {func(r *Request) { r.Target += "&b=2" }, signer.Key, ErrSignature},
		"too long":         {func(r *Request) { r.Target += "&" + strings.Repeat("b", MaxHawk) }, signer.Key, ErrSyntax},
		"line break in it": {func(r *Request) { r.Target = target[:len(target)-8] + "\n" + target[len(target)-8:] }, signer.Key, ErrSyntax},
		"other spelling":   {func(r *Request) { r.Target = "/x?a=1&bewit=" + string(loose) }, signer.Key, ErrSyntax},
		"escaped name":     {func(r *Request) { r.Target = "/x?a=1&b%65wit=" + bewit }, signer.Key, ErrNotHawk},
		"longer life": {func(r *Request) {
			r.Target = "/x?a=1&bewit=" + bewitText("k", "1353899999", "jaMWmGVDm/vLdofl8TAJ8qPtjpFeUXERxZVhQaYsExk=", "")
		}, signer.Key, ErrSignature},
		"host":   {func(r *Request) { r.Authority = "b.example" }, signer.Key, ErrSignature},
		"scheme": {func(r *Request) { r.Scheme = "http" }, signer.Key, ErrSignature},
		"no key": {func(*Request) {}, Key{}, ErrSignature},
		"decoy":  {func(*Request) {}, hawkDecoy, ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Request{Method: "GET", Scheme: "https", Authority: "a.example", Target: target}
			c.change(r)
			claim, err := ParseHawkBewit(r)
			if err == nil {
				_, err = claim.Verify(c.key, r)
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}

	r := &Request{Method: "GET", Scheme: "https", Authority: "a.example", Target: target}
	claim, err := ParseHawkBewit(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := claim.VerifyUnknown(r); !errors.Is(err, ErrSignature) {
		t.Errorf("unknown: %v", err)
	}
	proof, err := claim.Verify(signer.Key, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		now      time.Time
		lifetime time.Duration
		want     error
	}{
		{hawkTestNow, time.Hour, nil},
		{hawkTestNow.Add(-time.Millisecond), time.Hour, ErrStale}, // made for too long
		{hawkTestNow, 0, ErrStale},
		{until.Add(-time.Millisecond), time.Hour, nil},
		{until, time.Hour, ErrStale},
	} {
		if err := proof.Fresh(c.now, c.lifetime); !errors.Is(err, c.want) {
			t.Errorf("%v before its end, lifetime %v: %v, want %v", until.Sub(c.now), c.lifetime, err, c.want)
		}
	}
	if err := new(HawkBewitProof).Fresh(hawkTestNow, time.Hour); !errors.Is(err, ErrStale) {
		t.Errorf("the zero proof: %v", err)
	}
}
