package caddyapikey_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// warnings returns the messages, sites and remedies of the warnings that loading
// a Caddyfile logs, as far as they are about one of the messages.
func warnings(t *testing.T, sites string, messages ...string) []string {
	t.Helper()
	r := rig.New(t, "", "respond 204") // for its directories and addresses
	logged := len(r.Logs())
	caddyfile := fmt.Sprintf("{\nadmin %s\nauto_https off\npersist_config off\nlog default {\noutput file %s\n}\napi_keys {\nstore bolt %s\n}\n}\n%s", r.Admin, r.LogPath(), r.StorePath(), sites)
	if err := rig.LoadCaddyfile(caddyfile); err != nil {
		t.Fatalf("%v\n%s", err, caddyfile)
	}
	var found []string
	for line := range strings.SplitSeq(r.Logs()[logged:], "\n") {
		var entry struct{ Level, Msg, Site, Remedy string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Level == "warn" &&
			slices.ContainsFunc(messages, func(m string) bool { return strings.Contains(entry.Msg, m) }) {
			found = append(found, strings.Join([]string{entry.Msg, entry.Site, entry.Remedy}, "; "))
		}
	}
	return found
}

// An api_key that is never asked, or a rule whose matcher never matches, is named
// when the server starts, and only such a one.
func TestGuardsThatDoNothingAreNamed(t *testing.T) {
	const (
		guard  = "api_key {\nrequire *\n}\n"
		behind = "answers every request"
		never  = "no key will match it"
		taken  = "another api_key in front of it takes the key"
	)
	for name, c := range map[string]struct {
		site string
		want []string // each a warning, with parts of it
	}{
		"by itself":              {site: guard + "respond ok"},
		"a path in front":        {site: "route {\nrespond /health ok\n" + guard + "respond ok\n}"},
		"a handle in front":      {site: "handle /a {\nrespond ok\n}\nhandle {\n" + guard + "respond ok\n}"},
		"a redirect of a path":   {site: "redir /old /new\n" + guard + "respond ok"},
		"forward_auth":           {site: "route {\nforward_auth localhost:1 {\nuri /\n}\n" + guard + "respond ok\n}"},
		"files, else":            {site: "route {\nfile_server {\npass_thru\n}\n" + guard + "respond ok\n}"},
		"early hints":            {site: "route {\nrespond 103\n" + guard + "respond ok\n}"},
		"headers in front":       {site: "route {\nheader X-A b\nvars a b\n" + guard + "respond ok\n}"},
		"tier behind":            {site: "@gold api_key tier gold\n" + guard + "respond @gold gold\nrespond ok"},
		"tier, in a second":      {site: "route {\napi_key {\nkeep_credential\nrequire *\n}\n@gold api_key tier gold\napi_key {\nrequire *\nrequire @gold gold:use\n}\nrespond ok\n}"},
		"an error of its own":    {site: guard + "respond ok\nhandle_errors {\nrespond oh\n}"},
		"a named route":          {site: "invoke guard\nrespond ok"},
		"named, in each":         {site: "handle /a {\ninvoke guard\n}\nhandle {\ninvoke guard\n}"},
		"respond":                {site: "route {\nrespond ok\n" + guard + "}", want: []string{behind + "; b.example; put api_key in front of respond"}},
		"respond, deeper":        {site: "route {\nrespond ok\nhandle /x {\n" + guard + "}\n}", want: []string{behind + "; b.example; "}},
		"a whole redirect":       {site: "redir https://c.example{uri}\n" + guard, want: []string{"redir in front of it " + behind}},
		"reverse_proxy":          {site: "route {\nreverse_proxy localhost:1\n" + guard + "}", want: []string{"reverse_proxy in front of it " + behind}},
		"file_server":            {site: "route {\nfile_server\n" + guard + "}", want: []string{"file_server in front of it " + behind}},
		"tier":                   {site: "@gold api_key tier gold\napi_key {\nrequire * a:b\nrequire @gold gold:use\n}\nrespond ok", want: []string{never + "; b.example; ask for a scope"}},
		"not tier":               {site: "@other not api_key tier gold\napi_key {\nrequire * a:b\nrequire @other gold:use\n}\nrespond ok", want: []string{never}},
		"a named route, behind":  {site: guard + "invoke guard\nrespond ok", want: []string{taken + " from the request (rule all); b.example; write all rules into one"}},
		"a named route, in each": {site: guard + "handle /a {\ninvoke guard\n}", want: []string{taken}},
	} {
		t.Run(name, func(t *testing.T) {
			// Another site of the same server matches first.
			sites := "&(guard) {\nroute {\n" + guard + "}\n}\nhttp://a.example:%[1]s {\n" + guard + "}\nhttp://b.example:%[1]s {\n%[2]s\n}\n"
			_, port, _ := strings.Cut(rig.FreeAddr(t), ":")
			got := warnings(t, fmt.Sprintf(sites, port, c.site), behind, never, taken)
			if len(got) != len(c.want) {
				t.Fatalf("warnings %q, want %q", got, c.want)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("warning %q, want %q", got[i], want)
				}
			}
		})
	}
}

// A rule with client_cert on a site that asks nobody for a certificate is named,
// with the site.
func TestSitesWithoutClientAuthAreNamed(t *testing.T) {
	const message = "no client of the site is asked for a certificate"
	site := func(address, tls, rule string) string {
		return fmt.Sprintf("%s {\n%s\napi_key {\nrequire * a:b {\n%s\n}\n}\nrespond ok\n}\n", address, tls, rule)
	}
	cert := "tls " + rig.Certificate(t)
	asks := cert + " {\nclient_auth {\nmode request\n}\n}"
	for name, c := range map[string]struct {
		sites string
		want  []string // the sites
	}{
		"asks":                   {sites: site("https://a.example:PORT", asks, "client_cert")},
		"asks, no rule":          {sites: site("https://a.example:PORT", cert, "audit")},
		"asks all":               {sites: site("https://:PORT", asks, "client_cert")},
		"a wildcard":             {sites: site("https://*.example:PORT", asks, "client_cert")},
		"by a host of a handle":  {sites: "https://*.example:PORT {\n" + asks + "\n@a host a.example\nhandle @a {\napi_key {\nrequire * {\nclient_cert\n}\n}\n}\n}\n"},
		"plain HTTP":             {sites: site("http://a.example:PORT", "", "client_cert"), want: []string{"a.example"}},
		"HTTPS":                  {sites: site("https://a.example:PORT", cert, "client_cert"), want: []string{"a.example"}},
		"of two, the other asks": {sites: site("https://a.example:PORT", cert, "client_cert") + site("https://b.example:PORT", asks, "client_cert"), want: []string{"a.example"}},
		"no name":                {sites: site("https://:PORT", cert, "client_cert"), want: []string{"srv0"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, port, _ := strings.Cut(rig.FreeAddr(t), ":")
			got := warnings(t, strings.ReplaceAll(c.sites, "PORT", port), message)
			if len(got) != len(c.want) {
				t.Fatalf("warnings %q, want those of %q", got, c.want)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], "; "+want+"; ") || !strings.Contains(got[i], "client_auth") {
					t.Errorf("warning %q, want the site %q", got[i], want)
				}
			}
		})
	}
}

// A placeholder without a value is named when the server starts.
func TestPlaceholdersWithoutAValueAreNamed(t *testing.T) {
	got := warnings(t, "http://"+rig.FreeAddr(t)+" {\napi_key {\nrequire /a/* t:{http.request.uri.path.1}\nrequire /b/* t:{http.reqest.uri.path.1}\nrequire /c/* t:{env.CONFIG_ERRORS_NOT_SET}\nrequire /d/* t:{my_map}\n}\n}", "placeholder has no value")
	if len(got) != 2 || !strings.Contains(got[0], "write {http.request.uri.path.1}") || !strings.Contains(got[1], "CONFIG_ERRORS_NOT_SET") {
		t.Errorf("warnings %q", got)
	}
}
