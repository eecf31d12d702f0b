package caddyapikey_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// loadJSON provisions and validates a configuration, as `caddy validate` does.
func loadJSON(config string) error {
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON([]byte(config), &c); err != nil {
		return err
	}
	return caddy.Validate(&c)
}

// What the Caddyfile refuses does not load as JSON either.
func TestJSONIsNoLooserThanTheCaddyfile(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	const (
		site     = `{"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:8080"],"routes":[{"handle":[{"handler":"api_key",%s}]}]}}}}}`
		rule     = `"rules":[{"scopes":["a:b"]}]`
		app      = `{"apps":{"api_keys":{%s}}}`
		lockout  = `{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[{"handler":"lockout",%s}]}]}}}}}`
		matcher  = `{"apps":{"http":{"servers":{"s":{"routes":[{"match":[{"api_key":{%s}}],"handle":[{"handler":"static_response"}]}]}}}}}`
		provider = `{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[{"handler":"authentication","providers":{"api_key":{%s}}}]}]}}}}}`
		logs     = `{"logging":{"logs":{"default":{"encoder":{"format":"redact_api_keys",%s}}}}}`
	)
	for _, c := range []struct{ around, text, want string }{
		{site, `"rules":[]`, "no rules"},
		{site, `"rules":[{"access":"public"},{"scopes":["a:b"]}]`, "exempts all requests"},
		{site, `"rules":[{"access":"public","match":[{"path":["/x","/*"]}]},{"access":"require"}]`, "exempts all requests"},
		{site, `"rules":[{"access":"public","match":[{}]},{"scopes":["a:b"]}]`, "exempts all requests"},
		{site, `"rules":[{"access":"deny"}]`, "write require, optional or public"},
		{site, `"rules":[{"access":"public","scopes":["a:b"]}]`, "takes no scopes"},
		{site, `"rules":[{"access":"optional","cost":2}]`, "takes no scopes and conditions"},
		{site, `"rules":[{"scopes":["a:*"]}]`, "has a wildcard"},
		{site, `"rules":[{"scopes":["a,b"]}]`, "cannot stand in a scope"},
		{site, `"rules":[{"scopes":["t:{http.request.uri.pth.1}"]}]`, "there is no placeholder"},
		{site, `"rules":[{"match":[{"path":["/users/:id"]}]}]`, "write *, such as /users/*"},
		{site, `"rules":[{"match":[{"path":["^/v1"]}]}]`, "path_regexp"},
		{site, `"rules":[{"cost":1000001}]`, "at most 1000000"},
		{site, `"rules":[{"signed_body":"none"}]`, "write buffer, stream or off"},
		{site, `"rules":[{"body_limit":-1}]`, "from 1B to 512MiB"},
		{site, `"rules":[{"body_limit":1073741824}]`, "from 1B to 512MiB"},
		{site, `"rules":[{"name":"a"},{"name":"a"}]`, `two rules are named "a"`},
		{site, `"rules":[{"signed":true}],"signature":{"schemes":[]}`, "signature off accepts no signature"},
		{site, `"rules":[{"body_limit":10}],"signature":{"schemes":[]}`, "to limit all bodies"},
		{site, rule + `,"signature":{"schemes":["message"],"hawk":{"ext":"org"}}`, "hawk has settings but is not accepted"},
		{site, rule + `,"signature":{"schemes":["hawk"],"cover":["date"]}`, "cover is about message signatures"},
		{site, rule + `,"signature":{"schemes":[],"skew":"30s"}`, "its settings have no meaning"},
		{site, rule + `,"signature":{"schemes":["hmac"]}`, "write hawk, message"},
		{site, rule + `,"signature":{"schemes":["hawk","hawk"]}`, "given twice"},
		{site, rule + `,"signature":{"skew":"1h"}`, "write 1s to 15m"},
		{site, rule + `,"signature":{"skew":-1}`, "write 1s to 15m"},
		{site, rule + `,"signature":{"body_limit":1073741824}`, "from 1B to 512MiB"},
		{site, rule + `,"signature":{"authorities":["https://x"]}`, "without a scheme"},
		{site, rule + `,"signature":{"cover":["@method"]}`, "are always covered"},
		{site, rule + `,"signature":{"hawk":{"bewit":"60d"}}`, "up to 30d"},
		{site, rule + `,"signature":{"hawk":{"bewit":-1}}`, "up to 30d"},
		{site, rule + `,"signature":{"hawk":{"ext":"id"}}`, "write org"},
		{site, rule + `,"signature":{"hawk":{"server_authorization":"on"}}`, "write off, bare or hash"},
		{site, rule + `,"signature":{"schemes":["hawk"]},"from":[{"in":"header","name":"authorization"}]`, "keys are read from the whole header"},
		{site, rule + `,"signature":{"hawk":{"bewit":"1h"}},"from":[{"in":"query","name":"bewit"}]`, "choose another parameter"},
		{site, rule + `,"from":[{"in":"body"}]`, "write bearer, basic, header"},
		{site, rule + `,"from":[{"in":"bearer","name":"x"}]`, "takes no name"},
		{site, rule + `,"from":[{"in":"header","name":"X_Key"}]`, "letters, digits"},
		{site, rule + `,"from":[{"in":"header","name":"Content-Type"}]`, "has a meaning"},
		{site, rule + `,"from":[{"in":"bearer"},{"in":"bearer"}]`, "given twice"},
		{site, rule + `,"forward":[{"field":"id","header":"authorization"}]`, "keys are read from the header"},
		{site, rule + `,"forward":[{"field":"id","header":"X-A"},{"field":"org","header":"x-a"}]`, "tells id already"},
		{site, rule + `,"forward":[{"field":"id","header":"X-Forwarded-For"}]`, "has a meaning"},
		{site, rule + `,"forward":[{"field":"scopes","header":"X-A"}]`, "write id, name"},
		{site, rule + `,"forward":[{"field":"id","header":"+X-A"}]`, "is not a header name"},
		{site, rule + `,"mode":"report"`, "write enforce or observe"},
		{site, rule + `,"errors":"json"`, "write problem or caddy"},
		{site, rule + `,"realm":"ä"`, "printable ASCII"},
		{site, rule + `,"name":"a b"`, "letters, digits"},
		{site, rule + `,"relax":["all"]`, "unknown check"},
		{site, rule + `,"deny":{"ranges":["0.0.0.0/0"]}`, "would deny everyone"},
		{site, rule + `,"deny":{"ranges":["10.0.0.1/8"]}`, "has host bits set"},
		{site, rule + `,"deny":{"files":[{"path":""}]}`, "is no path"},
		{site, rule + `,"keepcredential":true`, "unknown field"},
		{site, rule + `},{"handler":"api_key",` + rule, "two api_key stand one behind the other"},

		{app, `"token_prefix":"ck_"`, "is not a prefix"},
		{app, `"roles":{"a b":["x"]}`, "only letters, digits"},
		{app, `"roles":{"a":["x,y"]}`, "cannot stand in a scope"},
		{app, `"roles":{"a":[]}`, "write at least one"},
		{app, `"tiers":{"a b":{}}`, "only letters, digits"},
		{app, `"tiers":{"gold":{"limits":["100/s"]}}`, "write 100/1s for a second"},
		{app, `"master_key":["c2VjcmV0"]`, "not the key itself"},
		{app, `"retain":{"usage":-1}`, "negative"},
		{app, `"retain":{"audit":"6m"}`, "m are minutes"},
		{app, `"retain":{"last_calls":100000}`, "outside 1 to"},
		{app, `"unused_after":"3m"`, "m are minutes"},
		{app, `"anomaly":{}`, "write what is unusual"},
		{app, `"anomaly":{"addresses":{"limit":5,"window":"1s"}}`, "is not from 1m to 24h"},
		{app, `"deny":{"ranges":["::/0"]}`, "would deny everyone"},
		{app, `"store":{"module":"bolt","max_size":1}`, "at least 1048576"},

		{lockout, `"lock":"1ms"`, "from 1s"},
		{lockout, `"exempt":["::/0"]`, "would exempt everyone"},
		{lockout, `"on":[{"outcome":"200","limit":5,"window":"1m"}]`, "a status from 400 to 599"},
		{lockout, `"on":[{"outcome":"429","limit":0,"window":"1m"}]`, "1 to 65535"},
		{lockout, `"prefix_v4":33`, "from 8 to 32"},
		{lockout, `"grow":{"factor":1,"longest":"1h"}`, "from 2 to 100"},
		{lockout, `"name":"A"`, "small letters"},

		{matcher, ``, "at least one of tier"},
		{matcher, `"org":["acme-*"]`, "no key has org"},
		{matcher, `"tier":[""]`, "no key has tier"},
		{matcher, `"scope":["a:*"]`, "has a wildcard"},
		{provider, `"scopes":["a:*"]`, "has a wildcard"},
		{provider, `"scopes":["t:{http.request.uri.pth.1}"]`, "there is no placeholder"},
		{provider, `"from":[{"in":"body"}]`, "write bearer, basic, header"},
		{logs, `"headers":["a b"]`, "is not a name"},
		{logs, `"prefixes":["ck_"]`, "is not a prefix"},
	} {
		t.Run(c.text, func(t *testing.T) {
			config := fmt.Sprintf(c.around, c.text)
			if !json.Valid([]byte(config)) {
				t.Fatalf("no JSON: %s", config)
			}
			if err := loadJSON(config); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant one with: %s", err, c.want)
			}
		})
	}
	for _, right := range []string{
		rule,
		rule + `,"signature":{"skew":"30s"}`,
		rule + `,"signature":{"schemes":[]}`,
		rule + `,"from":[{"in":"header","name":"Authorization"}],"signature":{"skew":"30s"}`,
		`"rules":[{"access":"public","match":[{"path":["/*"],"method":["GET"]}]},{"access":"require"}]`,
		`"rules":[{"access":"public"}]`,
	} {
		if err := loadJSON(fmt.Sprintf(site, right)); err != nil {
			t.Errorf("%s: %v", right, err)
		}
	}
}
