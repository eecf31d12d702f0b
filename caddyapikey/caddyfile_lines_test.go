package caddyapikey_test

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// Mistakes that could only be found when the whole is loaded, and options that
// silently would not count: the Caddyfile's own line is named, with what to write.
func TestMistakesHaveALine(t *testing.T) {
	const (
		block  = "example.com {\n@read method GET HEAD\napi_key {\nrequire * a:b\n%s\n}\n}" // from line 5
		rule   = "example.com {\napi_key {\nrequire * a:b {\n%s\n}\n}\n}"                   // from line 4
		hawk   = "example.com {\napi_key {\nrequire * a:b\nsignature hawk {\nhawk {\n%s\n}\n}\n}\n}"
		global = "{\napi_keys {\n%s\n}\n}\nexample.com {\nrespond ok\n}"
		logged = "example.com {\nlog {\nformat redact_api_keys {\n%s\n}\n}\n}"
		match  = "example.com {\n@m {\n%s\n}\nrespond @m ok\n}"
	)
	for _, c := range []struct{ around, lines, want string }{
		// Limits and characters.
		{block, "signature hawk {\nskew 1h\n}", "skew 1h0m0s: write 1s to 15m; a signature can be repeated within it only because its nonce is remembered that long, at Caddyfile:6"},
		{block, "signature hawk {\nskew 1ms\n}", "write 1s to 15m"},
		{block, "signature message {\nauthority https://api.example.com\n}", "without a scheme, wildcard or path, such as api.example.com, at Caddyfile:6"},
		{block, "signature message {\nauthority *.example.com\n}", "without a scheme, wildcard or path"},
		{block, "signature message {\nauthority {env.HOST}\n}", "as clients name it"},
		{block, "signature message {\nauthority example.com:https\n}", "as clients name it"},
		{block, "signature message {\nauthority user@example.com\n}", "as clients name it"},
		{block, "require * a:b {signed}", "a block begins with { at the end of the line, and each line in it stands alone"},
		{block, "signature message {\ncover @method\n}", "method, URL and body are always covered, at Caddyfile:6"},
		{hawk, "bewit 60d", "write a longest life of up to 30d, such as 1h, at Caddyfile:6"},
		{hawk, "server_authorization on", "write off, bare or hash, at Caddyfile:6"},
		{block, "realm ä", "printable ASCII characters without quotes and backslashes, such as `realm \"contacts api\"`, at Caddyfile:5"},
		{block, `realm ""`, "without quotes and backslashes"},
		{block, "realm contacts api", "in quotes if it has spaces"},
		{block, "require /x a:{http.request.uri.path.two}", "there is no placeholder {http.request.uri.path.two}"},
		{block, "require /x a:{http.api_key.orgg}", "there is no placeholder {http.api_key.orgg}"},
		{global, "retain audit 6m", "m are minutes, so write days or years, such as 180d or 5y, at Caddyfile:3"},
		{global, "unused_after 3m", "m are minutes"},
		{logged, `header "a b"`, "is not a name of letters, digits, '-', '_', '.' and '~', at Caddyfile:4"},

		// One option beside another.
		{block, "forward id Authorization\nforward org X-Org", "keys are read from the header Authorization; choose another one, such as X-Key-Id, at Caddyfile:5"},
		{block, "forward id X-Api-Key\nfrom query key\nfrom header x-api-key", "keys are read from the header X-Api-Key; choose another one, such as X-Key-Id, at Caddyfile:5"},
		{block, "forward id X-Key\nforward name x-key", "the header X-Key tells id already; choose another one, at Caddyfile:6"},
		{block, "forward id Content-Type", "Content-Type has a meaning of its own; choose another header, such as X-Key-Id, at Caddyfile:5"},
		{block, "forward id X-Forwarded-For", "has a meaning of its own"},
		{block, "forward id X-Original-URL", "has a meaning of its own"},
		{block, "forward id +X-Key-Id", "is not a header name"},
		{block, "forward id -X-Key-Id", "is not a header name"},
		{block, "from header Content-Type", "Content-Type has a meaning of its own"},
		{block, "signature off\nrequire /x a:b {\nsigned\n}", "signed, but signature off accepts no signature: leave one of them out, at Caddyfile:6"},
		{block, "signature off\nrequire /x a:b {\nbody_limit 1MiB\n}", "to limit all bodies write Caddy's `request_body` beside api_key, at Caddyfile:6"},
		{block, "signature off {\nskew 5s\n}", "its settings have no meaning: leave them out, or write the schemes in place of off, at Caddyfile:5"},
		{block, "signature message {\nhawk {\next org\n}\n}", "hawk has settings but is not accepted: write `signature hawk message { … }`, or leave its block out, at Caddyfile:5"},
		{block, "signature hawk {\ncover date\n}", "cover is about message signatures, which are not accepted"},
		{block, "signature", "write hawk, message, both, or off"},
		{block, "signature required", "which requests must be signed says `signed` in the block of a `require`"},
		{block, "signature hawk hawk", "hawk is given twice"},
		{block, "signature hawk {\nbewit 1h\n}", "write it into `hawk { … }` in the block of signature"},
		{hawk, "skew 5s", "write it into the block of signature, beside hawk"},
		{block, "from query bewit\nsignature hawk {\nhawk {\nbewit 1h\n}\n}", "choose another parameter for keys, at Caddyfile:6"},
		{block, "from header Authorization\nsignature hawk", "or leave hawk out, at Caddyfile:6"},
		{block, "public /*", "name what needs no key, such as `public /health`, at Caddyfile:5"},

		// Twice: one of them would not count.
		{block, "name a\nname b", "name is given twice, first on line 5; leave one out, at Caddyfile:6"},
		{block, "cors\ncors", "cors is given twice"},
		{block, "signature hawk\nsignature message", "signature is given twice, first on line 5"},
		{block, "signature message {\ncover date\ncover digest\n}", "cover is given twice, first on line 6; leave one out, at Caddyfile:7"},
		{block, "signature hawk {\nhawk {\next org\n}\nhawk {\nsha1\n}\n}", "hawk is given twice"},
		{hawk, "bewit 1h\nbewit 2h", "bewit is given twice"},
		{rule, "signed_body off\nsigned_body buffer", "signed_body is given twice, first on line 4; leave one out, at Caddyfile:5"},
		{rule, "body_limit 1MiB\nbody_limit 2MiB", "body_limit is given twice"},
		{rule, "data a\ndata b", "data is given twice"},
		{rule, "name a\nname b", "name is given twice"},
		{global, "retain usage 30d usage 40d", "retain: usage is given twice"},

		// Nothing, or the wrong place.
		{rule, `name ""`, "write one name"},
		{rule, `data ""`, "write one category"},
		{rule, "from bearer", "belongs to the whole site: write it beside the rules"},
		{rule, "mtls", "write `client_cert`"},
		{block, "mtls", "write `client_cert` into the block of a `require`, and `client_auth` into the directive tls"},
		{block, "body_limit 1MiB", "to limit all bodies write Caddy's `request_body`"},
		{block, "Require * a:b", "write require, in small letters"},
		{block, "forward {http.api_key.id} X-Key-Id", "write the field alone, such as `forward id X-Key-Id`"},
		{block, "forward ID X-Key-Id", "write id, in small letters"},
		{block, "forward scopes X-Scopes", "is not told to the upstream"},
		{block, "forward metadata.region X-Region", "write meta.region"},
		{global, "token_prefix ck {\nx\n}", "unexpected {: the option in front of it has no block"},
		{global, "tier gold {\nlimit 1/1s {\nburst 5\n}\n}", "limits have no block"},
		{"{\nlockout {\n}\n}\nexample.com {\n%s}", "", "lockout belongs to a site"},
		{"example.com {\nlockout {\n%s\n}\n}", "exempt 0.0.0.0/0", "would exempt everyone"},
		{"example.com {\nlockout {\n%s\n}\n}", "lock 15", "write `lock 15m` for minutes, or `lock 15s` for seconds"},

		// Matchers that never match.
		{match, "api_key {\n}", "write at least one of tier, org, scope and tag, such as `api_key tier gold`, at Caddyfile:3"},
		{match, "api_key scope contacts:*", "a rule requires one definite scope"},
		{match, "api_key scope a:b,c:d", `cannot stand in a scope`},
		{match, "api_key org acme-*", `no key has org "acme-*"`},
		{match, "api_key tier {http.request.host}", "only letters, digits and . _ - are possible"},
		{match, "api_key tier gold org acme", "org: write each field on a line of its own"},
		{match, "api_key role reader", "such as `api_key scope contacts:read`"},
		{match, "api_key id key_x", "write `vars {http.api_key.id} <value...>`"},
	} {
		t.Run(c.lines, func(t *testing.T) {
			text := strings.Replace(c.around, "%s", c.lines, 1)
			_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), ", at Caddyfile:") {
				t.Errorf("error %v\nwant one with: %s\n%s", err, c.want, text)
			}
		})
	}
}

// What seems near such a mistake and is right.
func TestNoMistakes(t *testing.T) {
	for _, lines := range []string{
		"from header Authorization\nrequire *", // message signatures only
		"from header Authorization\nsignature message\nrequire *",
		"from header Sec-WebSocket-Protocol\nrequire *",
		"forward owner X-Forwarded-User\nrequire *",
		"forward id Authorization\nfrom header X-API-Key\nrequire *",
		"forward id X-API-Key\nfrom bearer\nrequire *",
		"signature {\nskew 15m\n}\nrequire *",
		"signature message {\ncover date digest\nauthority api.example.com:8443 [2001:db8::1]\n}\nrequire *",
		"signature off\nrequire * {\naudit\n}",
		"signature hawk {\nhawk {\nbewit 30d\n}\n}\nfrom query key\nrequire *",
		"relax method\nrelax method\nrequire *",
		"public /\nrequire *",
		"public *",
		"public *\noptional *",
		"optional *\nrequire * a:b",
		"require * t:{http.regexp.team.1} {\ndata a\n}\nrequire * t:{my_map} {\ndata a\n}",
	} {
		text := "example.com {\napi_key {\n" + lines + "\n}\n}"
		if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"}); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}
