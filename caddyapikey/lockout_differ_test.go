package caddyapikey_test

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// Two lockouts of one name that differ are refused, and the error says where
// they stand.
func TestLockoutsThatDiffer(t *testing.T) {
	const one, two = "lockout {\nname api\non 404 3 in 1m\n}\n", "lockout {\nname api\non 404 4 in 1m\n}\n"
	for name, c := range map[string]struct {
		sites string
		where []string // any of these
	}{
		"two sites": {"http://a.example {\n" + one + "}\nhttp://b.example {\n" + two + "}",
			[]string{"one in site a.example, one in site b.example;", "one in site b.example, one in site a.example;"}},
		"one site": {"http://a.example {\n" + one + "handle /x {\n" + two + "}\n}",
			[]string{"one in site a.example, one in site a.example;"}},
		"many hosts": {"http://a.example, http://b.example, http://c.example, http://d.example {\n" + one + "handle /x {\n" + two + "}\n}",
			[]string{"one in site a.example, b.example, c.example and 1 more, one in site a.example,"}},
		"no hosts": {"http://:7001 {\n" + one + "}\nhttp://:7002 {\n" + two + "}",
			[]string{"one in the server on :7001, one in the server on :7002;", "one in the server on :7002, one in the server on :7001;"}},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := rig.Adapt("{\nadmin off\n}\n" + c.sites)
			if err != nil {
				t.Fatal(err)
			}
			var parsed caddy.Config
			if err := caddy.StrictUnmarshalJSON(config, &parsed); err != nil {
				t.Fatal(err)
			}
			err = caddy.Validate(&parsed)
			for _, where := range c.where {
				if err != nil && strings.Contains(err.Error(), "two lockouts are named api and have different options, "+where) {
					return
				}
			}
			t.Errorf("%v, want one of %q", err, c.where)
		})
	}
}
