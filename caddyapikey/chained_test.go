package caddyapikey_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// chained has two handlers one behind the other, as a site and a part of it may
// have by accident or on purpose.
func chained(first, second string) string {
	return "route {\napi_key {\nforward id X-Key-Id\n" + first + "\n}\napi_key {\nforward org X-Key-Org\n" + second + "\n}\n" +
		"header X-Seen \"[{http.auth.user.id}]\"\nreverse_proxy {$UPSTREAM}\n}"
}

// Both handlers decide; neither trusts the other, and what they tell is about
// the key that the later one let in.
func TestChainedHandlers(t *testing.T) {
	r := rig.New(t, "", chained("keep_credential\nrequire * outer", "require * inner"))
	r.Manage("PUT", "/orgs/acme", `{}`)
	tokens := make(map[string]string)
	for name, scopes := range map[string]string{"both": `"outer","inner"`, "outer": `"outer"`, "inner": `"inner"`} {
		_, tokens[name] = r.Create(`{"name":"` + name + `","org":"acme","scopes":[` + scopes + `]}`)
	}
	forged := []string{"X-Key-Id: forged", "X-Key-Org: forged", "X_Key_Org: forged"}
	get := func(name string) rig.Answer {
		return r.Get("/x", append(forged, "Authorization: Bearer "+tokens[name])...)
	}

	for name, reason := range map[string]string{"outer": "insufficient_scope", "inner": "insufficient_scope"} {
		wantAnswer(t, get(name), http.StatusForbidden, reason)
	}
	before := r.Upstream.Hits()
	wantAnswer(t, get("both"), http.StatusOK, "")
	got := r.Upstream.Last()
	if r.Upstream.Hits() != before+1 || strings.Contains(got, "forged") || strings.Contains(got, tokens["both"]) ||
		!strings.Contains(got, "X-Key-Id: key_") || !strings.Contains(got, "X-Key-Org: acme") {
		t.Errorf("the upstream got %s", got)
	}

	// Where the second asks for none, the key is nobody's business behind it.
	r.Load("", chained("keep_credential\nrequire * outer", "public *"))
	answer := get("both")
	wantAnswer(t, answer, http.StatusOK, "")
	if seen, got := answer.Header.Get("X-Seen"), r.Upstream.Last(); seen != "[]" || strings.Contains(got, tokens["both"]) || strings.Contains(got, "X-Key-Org") {
		t.Errorf("seen %s, the upstream got %s", seen, got)
	}

	// One that only observes does not soften one that enforces.
	for _, site := range []string{chained("mode observe\nrequire * outer", "require * inner"), chained("keep_credential\nrequire * outer", "mode observe\nrequire * inner")} {
		r.Load("", site)
		before := r.Upstream.Hits()
		if answer := r.Get("/x", forged...); answer.Status != http.StatusUnauthorized || r.Upstream.Hits() != before {
			t.Errorf("without a key: status %d", answer.Status)
		}
	}

	// A signature is good for one use, and so for one handler.
	r.Load("", chained("keep_credential\nrequire * outer", "require * inner"))
	s := newSigner(t, r, `{"name":"signer","scopes":["*"],"credential":{"kind":"shared_secret"}}`)
	before = r.Upstream.Hits()
	wantAnswer(t, r.Do(sign(t, s.hawk, s.request(t, "GET", "/x", ""), time.Now())), http.StatusUnauthorized, "replayed_signature")
	if r.Upstream.Hits() != before {
		t.Error("the upstream was reached")
	}
}
