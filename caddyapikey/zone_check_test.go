package caddyapikey_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	_ "github.com/mholt/caddy-ratelimit"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// zoned is a rate_limit directive with one zone, named after the test's table.
func zoned(zone, key string) string {
	return fmt.Sprintf("rate_limit {\nzone %s {\nkey %s\nevents 100\nwindow 1m\n}\n}\n", zone, key)
}

// A zone that asks for a key where none is known is named when the server
// starts, and only such a zone.
func TestMisplacedZonesAreNamed(t *testing.T) {
	const (
		guard  = "api_key {\nrequire *\n}\n"
		open   = "api_key {\npublic /open\nrequire *\n}\n"
		before = "before that is known"
		shared = "share one limit"
		none   = "no placeholder"
		never  = "never applies"
	)
	byTier := "rate_limit {\nzone gold {\nkey {http.api_key.caller}\nevents 100\nwindow 1m\nmatch {\napi_key tier gold\n}\n}\n}\n"
	for name, c := range map[string]struct {
		site string
		want []string // zone, and a part of the message or the remedy
	}{
		"right by itself":          {site: zoned("a", "{http.api_key.id}") + guard},
		"user":                     {site: zoned("a", "{http.auth.user.id}") + guard},
		"by address":               {site: zoned("a", "{client_ip}") + guard},
		"tier":                     {site: byTier + guard},
		"both orders":              {site: "route {\n" + zoned("a", "{client_ip}") + guard + zoned("b", "{http.api_key.org}") + "}"},
		"inside handle":            {site: "handle /a/* {\n" + zoned("a", "{http.api_key.id}") + guard + "}\nhandle {\nrespond ok\n}"},
		"key outside, zone inside": {site: guard + "handle /a/* {\n" + zoned("a", "{http.api_key.id}") + "}"},
		"basic_auth in front":      {site: "route {\nbasic_auth {\nu $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\n" + zoned("a", "{http.auth.user.id}") + guard + "}"},
		"no key, user":             {site: zoned("a", "{http.auth.user.id}") + "respond ok"},
		"open, by caller":          {site: zoned("a", "{http.api_key.caller}") + zoned("b", "{http.api_key.org_or_caller}") + open},
		"open, with the address":   {site: zoned("a", "{http.api_key.id}/{client_ip}") + open},
		"in an error route":        {site: guard + "handle_errors {\n" + zoned("a", "{http.api_key.id}") + "}"},
		"static":                   {site: zoned("a", "everybody") + open},
		"by a named route":         {site: "invoke guard\n" + "route {\n" + zoned("a", "{http.api_key.id}") + "}"},
		"route":                    {site: "route {\n" + zoned("a", "{http.api_key.id}") + guard + "}", want: []string{"a", before, "put api_key in front"}},
		"route, org in a text":     {site: "route {\n" + zoned("a", "x-{http.api_key.org}") + guard + "}", want: []string{"a", before}},
		"route, caller":            {site: "route {\n" + zoned("a", "{http.api_key.caller}") + guard + "}", want: []string{"a", before}},
		"route, user":              {site: "route {\n" + zoned("a", "{http.auth.user.id}") + guard + "}", want: []string{"a", before}},
		"route, tier":              {site: "route {\n" + byTier + guard + "}", want: []string{"gold", before, "gold", never}},
		"key in a later handle":    {site: zoned("a", "{http.api_key.id}") + "handle {\n" + guard + "}", want: []string{"a", before}},
		"key in another handle":    {site: "handle /a/* {\n" + guard + "}\nhandle {\n" + zoned("a", "{http.api_key.id}") + "}", want: []string{"a", before}},
		"two of three":             {site: "route {\n" + zoned("a", "{http.api_key.id}") + zoned("b", "{client_ip}") + guard + zoned("c", "{http.api_key.idd}") + "}", want: []string{"a", before, "c", none}},
		"no such placeholder":      {site: zoned("a", "{http.api_key.tennant}") + guard, want: []string{"a", none}},
		"open":                     {site: zoned("a", "{http.api_key.id}") + open, want: []string{"a", shared, "{http.api_key.caller}"}},
		"open, user in a text":     {site: zoned("a", "u-{http.auth.user.id}") + open, want: []string{"a", shared}},
		"observed":                 {site: zoned("a", "{http.api_key.org}") + "api_key {\nmode observe\nrequire *\n}", want: []string{"a", shared}},
		"named route behind it":    {site: "route {\n" + zoned("a", "{http.api_key.id}") + "invoke guard\n}", want: []string{"a", before}},
		"no api_key on the site":   {site: zoned("a", "{http.api_key.id}") + "respond ok", want: []string{"a", before, "this site has no api_key"}},
		"no api_key, tier":         {site: byTier + "respond ok", want: []string{"gold", before, "gold", never}},
	} {
		t.Run(name, func(t *testing.T) {
			r := rig.New(t, "", "respond 204") // for its directories and addresses
			logged := len(r.Logs())
			// Another site of the same server, which has a key and matches first.
			caddyfile := fmt.Sprintf("{\nadmin %s\nauto_https off\npersist_config off\nlog default {\noutput file %s\n}\napi_keys {\nstore bolt %s\n}\n}\n&(guard) {\nroute {\n%s}\n}\nhttp://a.example:%s {\n%s}\nhttp://b.example:%[5]s {\n%[7]s\n}\n",
				r.Admin, r.LogPath(), r.StorePath(), guard, port(r.Site), guard, c.site)
			if err := rig.LoadCaddyfile(caddyfile); err != nil {
				t.Fatalf("%v\n%s", err, caddyfile)
			}
			warnings := zoneWarnings(t, r.Logs()[logged:])
			var zones []string
			for _, w := range warnings {
				if zones = append(zones, w.Zone); w.Site != "b.example" {
					t.Errorf("site %q", w.Site)
				}
			}
			var want []string
			texts := fmt.Sprint(warnings)
			for _, part := range c.want {
				if len(part) == 1 || part == "gold" {
					want = append(want, part)
				} else if !strings.Contains(texts, part) {
					t.Errorf("nothing says %q: %s", part, texts)
				}
			}
			slices.Sort(zones)
			if slices.Sort(want); !slices.Equal(zones, want) {
				t.Errorf("warned of %v, want %v\n%s", zones, want, texts)
			}
		})
	}
}

type zoneWarning struct{ Msg, Site, Zone, Key, Remedy string }

// zoneWarnings returns the warnings of a log that are about zones.
func zoneWarnings(t *testing.T, logs string) (list []zoneWarning) {
	t.Helper()
	for line := range strings.Lines(logs) {
		var w zoneWarning
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			t.Fatal(err)
		}
		if w.Zone != "" && w.Remedy != "" {
			list = append(list, w)
		}
	}
	return list
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
