package caddyapikey_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-apikey/caddy-apikey/caddyapikey"
	_ "github.com/caddy-apikey/caddy-apikey/store/bolt"
)

var update = flag.Bool("update", false, "rewrite the golden files of Caddyfiles that adapt")

// Each file holds a Caddyfile, a line of hyphens, and the configuration it
// adapts to, or "error: " and a part of the message.
func TestCaddyfileAdapts(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			caddyfile, want, found := strings.Cut(string(content), "\n----------\n")
			if !found {
				t.Fatal("no line of hyphens")
			}
			got, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
			if wantErr, ok := strings.CutPrefix(want, "error: "); ok {
				if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(wantErr)) {
					t.Fatalf("error %v\nwant one with %s", err, wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, got, "", "\t"); err != nil {
				t.Fatal(err)
			}
			indented.WriteByte('\n')
			if *update {
				if err := os.WriteFile(file, []byte(caddyfile+"\n----------\n"+indented.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if indented.String() != want {
				t.Errorf("adapted to\n%s\nwant\n%s", indented.String(), want)
			}
		})
	}
}
