package caddyapikey_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// Who switches the admin endpoint off is told, once, that keys need it.
func TestAdminOffIsNamed(t *testing.T) {
	const guard = "http://%s.example {\napi_key {\nrequire *\n}\n}\n"
	for options, want := range map[string]int{
		"admin off":                        1,
		"admin localhost:2019":             0,
		"admin unix//run/caddy/admin.sock": 0,
		"":                                 0,
	} {
		r := rig.New(t, "", "respond ok") // its log is where warnings go
		if _, err := rig.Adapt("{\n" + options + "\n}\n" + fmt.Sprintf(guard, "a") + fmt.Sprintf(guard, "b")); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(r.Logs(), "`admin off` switches off the endpoint"); got != want {
			t.Errorf("%q: %d warnings, want %d", options, got, want)
		}
	}
	r := rig.New(t, "", "respond ok")
	if _, err := rig.Adapt("{\nadmin off\n}\nhttp://a.example {\nrespond ok\n}\n"); err != nil || strings.Contains(r.Logs(), "admin off") {
		t.Errorf("without keys: %v\n%s", err, r.Logs())
	}
}
