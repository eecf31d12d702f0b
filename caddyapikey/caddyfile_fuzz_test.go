package caddyapikey

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// No tokens that Caddy's lexer can make bring the parsers of the directives, the
// global option or the matcher down, and what they accept is within bounds.
func FuzzCaddyfile(f *testing.F) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		caddyfile, _, _ := strings.Cut(string(content), "\n----------\n")
		for _, name := range []string{"api_key ", "api_keys ", "lockout "} {
			if i := strings.Index(caddyfile, name); i >= 0 {
				f.Add(caddyfile[i:])
			}
		}
	}
	f.Fuzz(func(t *testing.T, input string) {
		var handler Handler
		if handler.unmarshal(httpcaddyfile.Helper{Dispenser: caddyfile.NewTestDispenser(input)}) == nil && len(handler.Rules) == 0 {
			t.Error("accepted without a rule")
		}
		_ = new(Lockout).unmarshal(httpcaddyfile.Helper{Dispenser: caddyfile.NewTestDispenser(input)})
		_ = new(App).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
		_ = new(Matcher).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
	})
}
