package caddyapikey_test

import (
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// Caddy's header handler replaces within the lines of a header, where they are.
// What it does to one answer must not reach the next: a Vary that no longer
// names the header of the key has a shared cache serve one key's answer to
// another.
func TestReplacedHeadersOfOneAnswer(t *testing.T) {
	r := rig.New(t, "", `
@replaced header X-Replaced *
header @replaced >Vary "X-Api-Key" "Nothing"
header @replaced >Accept-Signature "sig" "nothing"
api_key {
	require *
}
reverse_proxy {$UPSTREAM}`)
	_, token := r.Create(`{"name":"CRM sync"}`)
	bearer := "Authorization: Bearer " + token

	before, refused := r.Get("/v1", bearer).Header, r.Get("/v1").Header
	if got := r.Get("/v1", bearer, "X-Replaced: 1").Header.Get("Vary"); got != "Authorization, Nothing" {
		t.Fatalf("the header handler replaced nothing: Vary %q", got)
	}
	if r.Get("/v1", "X-Replaced: 1").Header.Get("Accept-Signature") == refused.Get("Accept-Signature") {
		t.Fatal("the header handler replaced nothing in Accept-Signature")
	}
	if got, want := r.Get("/v1", bearer).Header.Get("Vary"), before.Get("Vary"); got != want {
		t.Errorf("the next answer has Vary %q, want %q", got, want)
	}
	if got, want := r.Get("/v1").Header.Get("Accept-Signature"), refused.Get("Accept-Signature"); got != want {
		t.Errorf("the next refusal has Accept-Signature %q, want %q", got, want)
	}
}
