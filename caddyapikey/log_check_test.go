package caddyapikey_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// A log through which keys would pass in clear is named when the server starts,
// and only such a log.
func TestClearLogsAreNamed(t *testing.T) {
	const warning = "API keys would pass through a log in clear"
	for name, c := range map[string]struct {
		global string // more global options
		format string // of the default log
		site   string
		want   []string // the loggers that are warned of
		keys   string   // what the warning says of each
	}{
		"plain":          {site: "api_key {\nrequire *\n}", want: []string{"http.log.error"}, keys: `["header X-Api-Key"]`},
		"redacted":       {format: "format redact_api_keys", site: "log\napi_key {\nrequire *\n}"},
		"redacted twice": {format: "format redact_api_keys {\nwrap redact_api_keys\n}", site: "log\napi_key {\nrequire *\n}"},
		"access log":     {site: "log\napi_key {\nrequire *\n}", want: []string{"http.log.access", "http.log.error"}, keys: `["header X-Api-Key"]`},
		"log of its own": {
			format: "format redact_api_keys",
			site:   "log own {\noutput file {$DIR}/own.log\n}\napi_key {\nrequire *\n}",
			want:   []string{"http.log.access.own"}, keys: `["header X-Api-Key"]`,
		},
		"log of errors only": {
			format: "format redact_api_keys",
			site:   "log own {\noutput file {$DIR}/own.log\nlevel ERROR\n}\napi_key {\nrequire *\n}",
			want:   []string{"http.log.access.own"}, keys: `["header X-Api-Key"]`,
		},
		"log of its own, redacted": {
			format: "format redact_api_keys",
			site:   "log own {\noutput file {$DIR}/own.log\nformat redact_api_keys\n}\napi_key {\nrequire *\n}",
		},
		"discarded":         {format: "format redact_api_keys", site: "log own {\noutput discard\n}\napi_key {\nrequire *\n}"},
		"bearer only":       {site: "log\napi_key {\nfrom bearer\nrequire *\n}"},
		"credentials":       {global: "servers {\nlog_credentials\n}", site: "log\napi_key {\nfrom bearer\nfrom cookie sid\nrequire *\n}", want: []string{"http.log.access", "http.log.error"}, keys: `["bearer","cookie sid"]`},
		"no handler":        {site: "log\nrespond ok"},
		"query":             {site: "api_key {\nfrom query k\nrequire *\n}", want: []string{"http.log.error"}, keys: `["query k"]`},
		"bewit":             {site: "api_key {\nfrom bearer\nsignature hawk {\nhawk {\nbewit 10m\n}\n}\nrequire *\n}", want: []string{"http.log.error"}, keys: `["query bewit"]`},
		"filtered":          {format: "format filter {\nrequest>headers>X-Api-Key delete\n}", site: "api_key {\nrequire *\n}"},
		"hashed":            {format: "format filter {\nrequest>headers>X-Api-Key hash\n}", site: "api_key {\nrequire *\n}"},
		"headers filtered":  {format: "format filter {\nrequest>headers delete\n}", site: "api_key {\nrequire *\n}"},
		"request filtered":  {format: "format filter {\nrequest delete\n}", site: "api_key {\nfrom query k\nrequire *\n}"},
		"query filtered":    {format: "format filter {\nrequest>uri query {\nreplace k X\n}\n}", site: "api_key {\nfrom query k\nrequire *\n}"},
		"cookie filtered":   {global: "servers {\nlog_credentials\n}", format: "format filter {\nrequest>headers>Cookie cookie {\ndelete sid\n}\n}", site: "api_key {\nfrom cookie sid\nrequire *\n}"},
		"other is filtered": {format: "format filter {\nrequest>headers>X-Other delete\n}", site: "api_key {\nrequire *\n}", want: []string{"http.log.error"}, keys: `["header X-Api-Key"]`},
		"filter in front":   {format: "format filter {\nwrap redact_api_keys\nrequest>headers>X-Other delete\n}", site: "api_key {\nfrom query k\nrequire *\n}"},
		"unknown encoder":   {format: "format append {\nwrap json\nfields {\nserver one\n}\n}", site: "api_key {\nrequire *\n}", want: []string{"http.log.error"}, keys: `["header X-Api-Key"]`},
	} {
		t.Run(name, func(t *testing.T) {
			r := rig.New(t, "", "respond 204") // for its directories and addresses
			log := filepath.Join(r.Dir, "checked.log")
			config := fmt.Sprintf("{\nadmin %s\npersist_config off\nlog default {\noutput file %s\n%s\n}\n%s\napi_keys {\nstore bolt %s\n}\n}\nhttp://%s {\nbind 127.0.0.1\n%s\n}\n",
				r.Admin, log, c.format, c.global, r.StorePath(), r.Site, c.site)
			if err := rig.LoadCaddyfile(strings.ReplaceAll(config, "{$DIR}", r.Dir)); err != nil {
				t.Fatal(err)
			}
			text := rig.ReadFile(t, log)
			var warned []string
			for line := range strings.Lines(text) {
				if !strings.Contains(line, warning) {
					continue
				}
				_, rest, _ := strings.Cut(line, `"log":"`)
				logger, rest, _ := strings.Cut(rest, `"`)
				warned = append(warned, logger)
				if !strings.Contains(rest, `"keys":`+c.keys) || !strings.Contains(rest, "format redact_api_keys") {
					t.Errorf("the warning is\n%s", line)
				}
			}
			if !slices.Equal(warned, c.want) {
				t.Errorf("warned of %q, want %q\n%s", warned, c.want, text)
			}
			if own := filepath.Join(r.Dir, "own.log"); strings.Contains(c.site, "own.log") {
				if said := strings.Contains(rig.ReadFile(t, own), "api_keys_in_clear"); said != (len(c.want) > 0) {
					t.Errorf("the log itself says so: %v", said)
				}
			}
			if strings.HasPrefix(c.format, "format redact") && strings.Contains(text, "checked whether") {
				t.Errorf("the check shows in a log that redacts\n%s", text)
			}
		})
	}
}
