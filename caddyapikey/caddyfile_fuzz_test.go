package caddyapikey

import (
	"os"
	"path/filepath"
	"slices"
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
	f.Add("api_key <<\n{") // a heredoc that is none: the lexer refuses it
	f.Fuzz(func(t *testing.T, input string) {
		// Not NewTestDispenser, which ends the process where the lexer fails.
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		if err != nil {
			return
		}
		dispenser := func() *caddyfile.Dispenser { return caddyfile.NewDispenser(slices.Clone(tokens)) }
		var handler Handler
		if handler.unmarshal(httpcaddyfile.Helper{Dispenser: dispenser()}) == nil && len(handler.Rules) == 0 {
			t.Error("accepted without a rule")
		}
		_ = new(Lockout).unmarshal(httpcaddyfile.Helper{Dispenser: dispenser()})
		_ = new(App).UnmarshalCaddyfile(dispenser())
		_ = new(Matcher).UnmarshalCaddyfile(dispenser())
	})
}
