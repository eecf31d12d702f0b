package caddyapikey_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// What newcomers write when they guess: each is refused with what to write
// instead, and with the line, and no message repeats a key.
func TestFirstLook(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	const (
		token  = "ck_04dxcDRVrIBDlyjFhFAUTS2NiCSh5peIlTpMD0hNe303apgYI"
		site   = "example.com {\n\t@read method GET HEAD\n\t%s\n\treverse_proxy localhost:9000\n}"
		block  = "example.com {\n\t@read method GET HEAD\n\tapi_key {\n\t\t%s\n\t\trequire *\n\t}\n\treverse_proxy localhost:9000\n}"
		global = "{\n\tapi_keys {\n\t\t%s\n\t}\n}\nexample.com {\n\trespond ok\n}"
	)
	for _, c := range []struct{ around, line, want string }{
		// The directive itself.
		{site, "api_key", "write at least `require *`"},
		{site, "api_key {\n\t}", "write at least `require *`"},
		{site, "api_key {\n\t\tpublic\n\t}", "such as `public /health`"},
		{site, "api_key @read contacts:read", "such as `require @read contacts:read`"},
		{site, "api_key /v1/* {\n\t\trequire *\n\t}", "such as `require /v1/* contacts:read`"},
		{site, "api_key " + token, "write its rules in a block; keys do not stand in the Caddyfile: create or import them through the admin API"},
		{block, "api_key {\n\t\t\trequire *\n\t\t}", "keys do not stand in the Caddyfile"},

		// Rules.
		{block, "require", "@name of a matcher, a path beginning with /, or * for all, such as `require * contacts:read`"},
		{block, "require contacts:read", "such as `require * contacts:read`"},
		{block, "require read contacts:read", "@name of a matcher"},
		{block, "require GET contacts:read", "@name of a matcher"},
		{block, "require method GET contacts:read", "@name of a matcher"},
		{block, "require {\n\t\t\tscope contacts:read\n\t\t}", "@name of a matcher"},
		{block, "require @reed contacts:read", "require @reed: no such matcher is defined: write one beside api_key, such as `@read method GET HEAD`"},
		{block, "require @ contacts:read", "no such matcher is defined"},
		{block, "require @read contacts:read,deals:read", "write spaces between scopes, such as `contacts:read deals:read`"},
		{block, "require @read contacts:read, deals:read", "write spaces between scopes"},
		{block, "require @read [contacts:read]", "use letters, digits"},
		{block, "require @read scope contacts:read", "write the scopes alone, without the word scope"},
		{block, "require @read scopes contacts:read", "write the scopes alone, without the word scopes"},
		{block, "require @read role reader", "a rule asks for scopes; a role is what a key holds"},
		{block, "require @read @write", "one rule has one matcher: write one line for each"},
		{block, "require /a /b contacts:read", "one rule has one matcher: write one line for each"},
		{block, "require @read contacts:*", "a rule requires one definite scope, such as contacts:read"},
		{block, `require @read ""`, "write it like contacts:read"},
		{block, "require @read contacts::read", "write it like contacts:read"},
		{block, "require @read " + token, "keys do not stand in the Caddyfile"},
		{block, "require @read contacts:read {name x}", "a block begins with { at the end of the line"},
		{block, "require @read contacts:{http.request.uri.path.1", "a placeholder is written {name}"},
		{block, "require @read contacts:read {\n\t\t\tscope deals:read\n\t\t}", "write scopes on the line of the rule"},
		{block, "require @read contacts:read {\n\t\t\trole reader\n\t\t}", "a rule asks for scopes"},
		{block, "require @read contacts:read {\n\t\t\tallow 10.0.0.0/8\n\t\t}", "belongs to each key"},
		{block, "require @read contacts:read {\n\t\t\taudit yes\n\t\t}", "audit takes no argument: write it alone"},
		{block, "public health", "such as `public /health`"},
		{block, "public /health /metrics", "one rule has one matcher: write one line for each"},
		{block, "public @read contacts:read", "write `require` for those"},
		{block, "optional contacts:read", "such as `optional /health`"},

		// Options in the wrong place.
		{block, "store bolt /var/lib/caddy/keys.db", "write it into `api_keys { … }` in the global options"},
		{block, "role reader contacts:read", "write it into `api_keys { … }` in the global options"},
		{block, "token_prefix acme", "write it into `api_keys { … }` in the global options"},
		{block, "allow 10.0.0.0/8", "belongs to each key, not to the Caddyfile"},
		{block, "deny 10.0.0.1/8", "write 10.0.0.0/8 for the whole network"},
		{block, "deny drop.txt", "such as /etc/caddy/drop.txt or ./drop.txt"},
		{block, "deny", "such as `deny 203.0.113.0/24 /etc/caddy/drop.txt`"},
		{global, "deny 0.0.0.0/0", "would deny everyone"},
		{block, "require /x {\n\t\tdeny 10.0.0.0/8\n\t\t}", "write it beside the rules, not in one"},
		{block, "origins https://app.example", "belongs to each key, not to the Caddyfile"},
		{block, "key " + token, "create or import them through the admin API"},
		{block, "scope contacts:read", "such as `require * contacts:read`"},
		{block, "path /v1/*", "define a matcher beside api_key, such as `@mine path …`"},
		{block, "@write method POST", "define matchers beside api_key, not in it, and write `require @write` here"},
		{block, "rate_limit 10", "is a directive of its own: write it beside api_key"},
		{global, "require * contacts:read", "write it into the `api_key { … }` block there"},
		{global, "from bearer", "write it into the `api_key { … }` block there"},
		{global, "mode observe", "write it into the `api_key { … }` block there"},
		{global, "allow 10.0.0.0/8", "belongs to each key, not to the Caddyfile"},
		{global, "key " + token, "create or import them through the admin API"},
		{global, "admin off", "write it in front of or behind api_keys"},

		// Options that are nearly right.
		{block, "requires * contacts:read", "unknown option \"requires\": write require"},
		{block, "from X-API-Key", "write `from header X-API-Key`"},
		{block, "from Authorization", "write `from bearer` for Authorization: Bearer"},
		{block, "from header Authorization Bearer", "write `from bearer` for Authorization: Bearer"},
		{block, "from header", "such as `from header X-API-Key`"},
		{block, "from query", "such as `from query api_key`"},
		{block, "from header X-API-Key bearer", "each place has a line of its own"},
		{block, "from bearer " + token, "write `from bearer` alone"},
		{block, "from Bearer", "write bearer, in small letters"},
		{block, "from header X_API_Key", "letters, digits and '-', such as X-API-Key"},
		{block, "header X-API-Key", "write `from header <name>`"},
		{block, "bearer", "write `from bearer`"},
		{block, "mode report", "mode: write enforce or observe"},
		{block, "observe", "write `mode observe`"},
		{block, "mode observe\n\t\tmode enforce", "mode is given twice, first on line 4; leave one out"},
		{block, "errors json", "errors: write problem or caddy"},
		{block, "cors https://app.example", "the list of origins belongs to each key"},
		{block, "keep_credential true", "write it alone"},
		{block, "forward X-Key-Id", "such as `forward id X-Key-Id`"},
		{block, "forward X-Key-Id id", "write the field first, such as `forward id X-Key-Id`"},
		{block, "forward id X_Key_Id", "letters, digits and '-', such as X-Key-Id"},
		{block, "forward id X-API-Key", "choose another one"},
		{block, "realm my api", "realm: write one text"},
		{block, "relax encoded-slash", "encoded_slash"},
		{global, "store /var/lib/caddy/keys.db", "write the kind of store in front of the path: `store bolt /var/lib/caddy/keys.db`"},
		{global, "store sqlite /keys.db", "write `store bolt <path>`"},
		{global, "store bolt ~/keys.db", "write the whole path"},
		{global, "store bolt /my keys.db", "write one path, in quotes"},
		{global, "store bolt {\n\t\t\tpath /keys.db\n\t\t}", "write it behind bolt"},
		{global, "token_prefix ck_", "such as ck or acme_live"},
		{global, "token_prefix my-key", "such as ck or acme_live"},
		{global, "prefix ck", "write `token_prefix <prefix>`"},
		{global, "role reader", "such as `role reader contacts:read deals:read`"},
		{global, "role reader {\n\t\t\tcontacts:read\n\t\t}", "such as `role reader contacts:read deals:read`"},
		{global, "role reader: contacts:read", "write it as in `role reader contacts:read deals:read`"},
		{global, "role reader contacts:read,deals:read", "write spaces between scopes"},
		{global, "roles reader contacts:read", "write one line for each role"},
		{global, "retain 30d", "such as `retain usage 400d calls 30d last_calls 200 audit 5y`"},
		{global, "token_prefix a\n\t}\n\tapi_keys {\n\t\ttoken_prefix b", "write all of it in one block, at Caddyfile:5"},
		// Words of other products.
		{block, "hide_credentials", "an accepted key is always removed"},
		{block, "key_names apikey", "write `from header <name>`"},
		{block, "X-API-Key", "write `from header X-API-Key`"},
		{block, "Authorization", "write `from bearer`"},
		{block, "anonymous", "write `optional <matcher>`"},
		{block, "except /health", "write `public <matcher>`"},
		{block, "protect /v1", "write `require <matcher> <scopes>`"},
		{block, "whitelist 10.0.0.0/8", "set `allow` or `deny`"},
		{block, "ttl 30d", "set `expires_at`"},
		{block, "users alice", "belongs to each key"},
		{block, "roles reader", "rules ask for scopes"},
		{block, "copy_headers X-User", "such as `forward id X-Key-Id`"},
		{block, "signed", "belongs to a rule"},
		{block, "skew 60s", "write it into `signature hawk message"},
		{block, "reverse_proxy localhost:9000", "behind the } that ends its block"},
		{block, token, "keys do not stand in the Caddyfile"},
		{block, "require @read a:b {\n\t\t\tsigned " + token + "\n\t\t}", "signed takes no argument"},
		{block, "require @read a:b {\n\t\t\tsign\n\t\t}", "write `signed`"},
		{global, "token_prefix " + token, "not a token"},
		{global, "retention 30d", "write `retain`"},
		{global, "database /keys.db", "write `store bolt <path>`"},
		{site, "api_keys {\n\t\trequire *\n\t}", "the directive of a site is named api_key, at Caddyfile:3"},
		{"%s", "{\n\tapi_key {\n\t\trequire *\n\t}\n}\nexample.com {\n\trespond ok\n}", "the global option is named api_keys, at Caddyfile:2"},

		// What would load, and guard less than it seems to.
		{block, "require @read contacts:read or deals:read", "a rule asks for all of its scopes"},
		{block, "require @read any contacts:read", "a rule asks for all of its scopes"},
		{block, "require /users/:id users:read", "write *, such as /users/*"},
		{block, "require /users/{id} users:read", "write *, such as /users/*"},
		{site, "@user path /users/:id\n\tapi_key {\n\t\trequire * a:b\n\t\trequire @user users:read\n\t}", "write *, such as /users/*, at Caddyfile:6"},
		{site, "@v1 path ^/v1\n\tapi_key {\n\t\trequire * a:b\n\t\trequire @v1 users:read\n\t}", "there is the matcher path_regexp"},
		{block, "public *", "such as `public /health`"},
		{"%s", "{\n\torder api_key last\n}\nexample.com {\n\tapi_key {\n\t\trequire *\n\t}\n\trespond ok\n}", "leave that line out"},

		{"%s", "example.com {\n\t@gold api_key\n\trespond @gold hi\n}", "write at least one of tier, org, scope and tag"},
		{"%s", "example.com {\n\t@gold api_key gold\n\trespond @gold hi\n}", "write tier, org, scope or tag"},
	} {
		t.Run(c.line, func(t *testing.T) {
			caddyfile := fmt.Sprintf(c.around, c.line)
			err := load(caddyfile)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant one with: %s\n%s", err, c.want, caddyfile)
			}
			if err != nil && strings.Contains(err.Error(), token[:20]) {
				t.Errorf("the message repeats a key: %v", err)
			}
		})
	}
}

// load adapts and validates a Caddyfile, as `caddy validate` does.
func load(caddyfile string) error {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &c); err != nil {
		return err
	}
	return caddy.Validate(&c)
}
