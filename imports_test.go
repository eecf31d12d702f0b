package apikey

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport has what of this module each package of the server may import, from
// the bottom up. A new package needs a line before another one may import it.
var mayImport = map[string][]string{
	"internal/milli":   {},
	"internal/regular": {},
	"hmacsig":          {},
	"limit":            {"internal/regular"},
	"lockout":          {},
	"audit":            {"internal/milli"},
	"keyring":          {"audit", "hmacsig", "limit"},
	"denylist":         {"keyring"},
	"internal/redact":  {"keyring"},
	"usage":            {"audit", "keyring", "internal/milli"},
	"store/bolt":       {"audit", "keyring", "limit", "usage", "internal/milli"},
	"store/storetest":  {"audit", "keyring", "limit", "usage"},
	"caddyapikey":      {"audit", "denylist", "hmacsig", "keyring", "limit", "lockout", "usage", "internal/redact", "internal/regular"},
	"adminapi":         {"audit", "hmacsig", "keyring", "limit", "lockout", "usage"},
	".":                {"adminapi", "caddyapikey", "store/bolt"},
	"xcaddy":           {"."},
}

// knowCaddy are the packages that may import Caddy. The others are the domain.
var knowCaddy = []string{"store/bolt", "internal/redact", "caddyapikey", "adminapi", "xcaddy"}

func TestImportsPointDownwards(t *testing.T) {
	for of, allowed := range mayImport {
		files, err := filepath.Glob(filepath.Join(filepath.FromSlash(of), "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no package %s (%v); take it out of mayImport", of, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, imported := range importsOf(t, name) {
				if strings.HasPrefix(imported, "github.com/caddyserver/") && !slices.Contains(knowCaddy, of) {
					t.Errorf("%s imports %s, but %s knows no Caddy", name, imported, of)
				}
				ours, ok := strings.CutPrefix(imported, "github.com/caddy-apikey/caddy-apikey")
				if ours = strings.TrimPrefix(ours, "/"); ours == "" {
					ours = "."
				}
				if ok && !slices.Contains(allowed, ours) {
					t.Errorf("%s imports %s, which is not below %s", name, ours, of)
				}
			}
		}
	}
}

func importsOf(t *testing.T, name string) (paths []string) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		text, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, text)
	}
	return paths
}
