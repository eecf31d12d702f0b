package caddyapikey_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// Caddy logs what FastCGI is given, at debug level: headers under names of their
// own.
func TestKeysForFastCGIAreRedacted(t *testing.T) {
	r := rig.New(t, "", "api_key {\nrequire *\n}")
	const key = "LegacyKeyOfNoForm0123456789abcdefghijklmnop"
	if got := r.Manage("POST", "/import", `{"keys":[{"name":"legacy","token":"`+key+`"}]}`); got.Status != 200 {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	log := filepath.Join(t.TempDir(), "caddy.log")
	err := r.LoadWhole(fmt.Sprintf(`{
	admin %s
	auto_https off
	persist_config off
	api_keys {
		store bolt %s
	}
	servers {
		log_credentials
	}
	log default {
		output file %s
		level DEBUG
		format redact_api_keys
	}
}
http://%s {
	log
	api_key {
		from header X-API-Key
		from bearer
		from cookie sid
		require *
		keep_credential
	}
	reverse_proxy %s {
		transport fastcgi {
			root %s
		}
	}
}`, r.Admin, r.StorePath(), log, r.Site, rig.FreeAddr(t), t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"X-Api-Key: " + key, "Authorization: Bearer " + key, "Cookie: a=b; sid=" + key} {
		name, value, _ := strings.Cut(header, ": ")
		// The server of the configuration before answers for a moment, and closes.
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			req, err := http.NewRequest("GET", "http://"+r.Site+"/x.php", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Close = true
			req.Header.Set(name, value)
			got, err := rig.Read(http.DefaultClient.Do(req))
			if err == nil && got.Status == http.StatusBadGateway {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: status %d, %v", name, got.Status, err)
			}
		}
	}
	text := ""
	for deadline := time.Now().Add(20 * time.Second); strings.Count(text, "handled request") < 3; time.Sleep(10 * time.Millisecond) {
		if text = rig.ReadFile(t, log); time.Now().After(deadline) {
			t.Fatalf("not all is logged: %s", text)
		}
	}
	if !strings.Contains(text, "HTTP_X_API_KEY") || !strings.Contains(text, "HTTP_AUTHORIZATION") {
		t.Errorf("nothing for FastCGI is logged: %s", text)
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, key) {
			t.Errorf("a key is logged: %s", line)
		}
	}
}
