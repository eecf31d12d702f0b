package caddyapikey_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

func siteWithSkew(skew string) string {
	return fmt.Sprintf("api_key {\nsignature hawk {\nskew %s\n}\nrequire *\n}\nreverse_proxy {$UPSTREAM}\n", skew)
}

// awaitVerdict sends a request that was used before until its time is neither
// too far ahead nor of a time of which nothing is known, and returns the answer.
func awaitVerdict(t *testing.T, r *rig.Rig, req *http.Request) rig.Answer {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		answer := r.Do(req.Clone(t.Context()))
		if answer.Status == http.StatusOK {
			return answer
		}
		if reason := answer.Reason(); reason == "replayed_signature" || time.Now().After(deadline) {
			return answer
		} else if reason == "stale_signature" && time.Now().Unix() > signedAt(t, req)+1 {
			return answer // and it stays so
		}
	}
}

func signedAt(t *testing.T, req *http.Request) (second int64) {
	t.Helper()
	if _, err := fmt.Sscanf(req.Header.Get("X-Signed-At"), "%d", &second); err != nil {
		t.Fatal(err)
	}
	return second
}

// usedAhead returns a request, from a client whose clock is ahead, that was let
// in.
func (s *signer) usedAhead(t *testing.T, by time.Duration) *http.Request {
	t.Helper()
	at := time.Now().Add(by)
	req := sign(t, s.hawk, s.request(t, "GET", "/v1/export", ""), at)
	req.Header.Set("X-Signed-At", fmt.Sprint(at.Unix()))
	if answer := s.r.Do(req.Clone(t.Context())); answer.Status != http.StatusOK {
		t.Fatalf("status %d %s", answer.Status, answer.Body)
	}
	return req
}

// What a configuration let in whose window was longer must not be let in again
// by the next one, into whose shorter window it comes later.
func TestShorterSkewForgetsNothing(t *testing.T) {
	r := rig.New(t, "", siteWithSkew("9s"))
	s := newSigner(t, r, exporter)
	req := s.usedAhead(t, 7*time.Second)
	r.Load("", siteWithSkew("2s"))
	if answer := awaitVerdict(t, r, req); answer.Status == http.StatusOK {
		t.Error("a replay was let in after a reload with a shorter skew")
	}
}

// A configuration that was refused when it had begun to start leaves nothing
// behind that a later one takes for what is known: it does not know what was
// used since.
func TestRefusedSkewLeavesNoNonces(t *testing.T) {
	r := rig.New(t, "", siteWithSkew("6s"))
	s := newSigner(t, r, exporter)
	refused := siteWithSkew("2s") + "}\nhttp://" + r.Upstream.Addr + " {\nbind 127.0.0.1\n" + siteWithSkew("2s")
	for range 30 { // apps start in any order, and those of keys are to come first once
		if err := r.TryLoad("", refused); err == nil {
			t.Fatal("the port is not in use")
		}
	}
	left, err := filepath.Glob(r.StorePath() + ".nonces*")
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("a refused configuration left %v", left)
	}
	req := s.usedAhead(t, 5*time.Second)
	r.Load("", siteWithSkew("2s"))
	if answer := awaitVerdict(t, r, req); answer.Status == http.StatusOK {
		t.Error("a replay was let in")
	}
}
