package caddyapikey

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What Caddy's server has, and what others may define, is taken as it is; what
// nobody has is refused; what looks wrong is warned of, with what to write.
func TestPlaceholdersOfScopes(t *testing.T) {
	t.Setenv("CONFIG_ERRORS_TEAM", "a")
	full, empty := filepath.Join(t.TempDir(), "full"), filepath.Join(t.TempDir(), "empty")
	for file, text := range map[string]string{full: "a\n", empty: "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const refused = "\x00"
	for name, want := range map[string]string{
		"http.request.uri.path.2":                 "",
		"http.request.uri.path.0":                 "",
		"http.request.uri.path.200":               "",
		"http.request.orig_uri.path.1":            "",
		"http.request.uri.path.file.base":         "",
		"http.request.uri.query.team":             "",
		"http.request.header.X-Team":              "",
		"http.request.cookie.team":                "",
		"http.request.host":                       "",
		"http.request.host.labels.2":              "",
		"http.request.method":                     "",
		"http.request.remote.host":                "",
		"http.request.remote.host/24,64":          "",
		"http.request.local.port":                 "",
		"http.request.uuid":                       "",
		"http.request.body":                       "",
		"http.request.duration_ms":                "",
		"http.request.tls.server_name":            "",
		"http.request.tls.client.fingerprint":     "",
		"http.request.tls.client.san.dns_names.0": "",
		"http.request.tls.client.san.emails":      "",
		"http.request.orig_method":                "",
		"http.regexp.team.1":                      "",
		"http.regexp.1":                           "",
		"http.vars.team":                          "",
		"http.vars.client_ip":                     "",
		"http.matchers.file.relative":             "",
		"http.auth.user.id":                       "",
		"http.error.status_code":                  "",
		"http.reverse_proxy.header.X-Team":        "",
		"http.url_pattern.uri.port":               "",
		"http.mercure.topic":                      "",
		"team":                                    "", // of a map
		"my.team":                                 "",
		"geoip2.country_code":                     "",
		"system.hostname":                         "",
		"time.now.year":                           "",
		"env.CONFIG_ERRORS_TEAM":                  "",
		"file." + full:                            "",

		"http.request.uri.path.two":              refused,
		"http.request.uri.path.-1":               refused,
		"http.request.uri.pth.2":                 refused,
		"http.request.path.2":                    refused,
		"http.request.headers.X-Team":            refused,
		"http.request.host.labels.":              refused,
		"http.request.tls.client.san.dns_name.0": refused,
		"http.request.":                          refused,
		"http.api_key.orgg":                      refused,
		"http.api_key.":                          refused,

		"http.reqest.uri.path.2":         "write {http.request.uri.path.2}",
		"http.uri.path.2":                "write {http.request.uri.path.2}",
		"request.uri.path.2":             "write {http.request.uri.path.2}",
		"uri.path.2":                     "write {http.request.uri.path.2}",
		"path.2":                         "write {http.request.uri.path.2}",
		"header.X-Team":                  "write {http.request.header.X-Team}",
		"query.team":                     "write {http.request.uri.query.team}",
		"labels.2":                       "write {http.request.host.labels.2}",
		"method":                         "write {http.request.method}",
		"http.api_key.org":               "known behind api_key",
		"http.api_key.meta.team":         "known behind api_key",
		"env.CONFIG_ERRORS_NOT_SET":      "set the environment variable CONFIG_ERRORS_NOT_SET",
		"file." + empty:                  "with a value in it",
		"file." + full + ".not/anywhere": "with a value in it",
	} {
		err, remedy := checkPlaceholder(name), placeholderRemedy(name)
		switch {
		case want == refused:
			if err == nil || !strings.Contains(err.Error(), "{"+name+"}") {
				t.Errorf("%s: error %v", name, err)
			}
		case err != nil || !strings.Contains(remedy, want) || want == "" && remedy != "":
			t.Errorf("%s: error %v, remedy %q; want %q", name, err, remedy, want)
		}
	}
}
