package caddyapikey

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func init() {
	// The two names differ by one letter. Each is told of the other where Caddy
	// would say no more than that it does not know it.
	httpcaddyfile.RegisterGlobalOption("api_key", func(d *caddyfile.Dispenser, _ any) (any, error) {
		d.Next() // for the line
		return nil, d.Err("api_key belongs to a site: write it into the block of the site that it guards; the global option is named api_keys")
	})
	httpcaddyfile.RegisterDirective("api_keys", func(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
		h.Next()
		return nil, h.Err("api_keys belongs to the global options, at the top of the Caddyfile; the directive of a site is named api_key")
	})
	httpcaddyfile.RegisterDirectiveOrder("api_keys", httpcaddyfile.After, "try_files")
}

// foreignHint is optionHint for words of other products, and for those that
// seem natural.
func foreignHint(word string) string {
	switch word {
	case "expires", "expiry", "ttl", "lifetime", "valid_until":
		return "belongs to each key, not to the Caddyfile: set `expires_at` where keys are created, in the admin API (POST /api_keys/keys)"
	case "ip", "ips", "cidr", "allow_ips", "allowlist", "whitelist", "denylist", "blacklist", "ip_restriction":
		return "belongs to each key, not to the Caddyfile: set `allow` or `deny` where keys are created, in the admin API (POST /api_keys/keys)"
	case "org", "tag", "tags", "user", "users", "consumer", "consumers", "group", "groups":
		return "belongs to each key, not to the Caddyfile: set `org`, `owner` or `tags` where keys are created, in the admin API (POST /api_keys/keys); behind api_key the matcher api_key tells keys apart"
	case "api_key", "apikey", "api_keys", "admin_key", "password", "value", "values":
		return optionHint("key")
	case "exclude", "except", "skip", "ignore", "bypass", "permit", "unprotected":
		return "write `public <matcher>` for requests that need no key, such as `public /health`"
	case "protect", "guard", "private", "secure", "restrict", "authorize":
		return "write `require <matcher> <scopes>`, such as `require /admin/* admin:all`"
	case "anonymous", "anonymous_consumer":
		return "write `optional <matcher>` for requests with a valid key or none, `public <matcher>` for those that need none"
	case "default":
		return "a request that no rule matches is refused; write `require * <scopes>` for all others"
	case "roles":
		return "rules ask for scopes; a role is what a key holds: define it with `role` in the global options, and set it where keys are created"
	case "headers", "key_names", "key_in_header", "in", "auth_header_name":
		return "write `from header <name>`, such as `from header X-API-Key`"
	case "key_in_query", "param_name":
		return "write `from query <name>`"
	case "authorization", "Authorization":
		return "write `from bearer` for Authorization: Bearer"
	case "hide_credentials", "strip", "strip_credential", "strip_auth_data":
		return "an accepted key is always removed from the request: leave this out, or write `keep_credential` for the contrary"
	case "copy_headers", "header_up", "pass_headers":
		return "write `forward <field> <header>`, such as `forward id X-Key-Id`"
	case "error", "on_error":
		return "write `errors problem` or `errors caddy`"
	case "strict":
		return "strict checks are on; `relax <check>` switches one off"
	case "signed", "signed_body", "audit", "data":
		return "belongs to a rule: write it into the block of a `require`"
	case "body_limit":
		return "belongs to a `require` or to `signature`, and is about signed bodies; to limit all bodies write Caddy's `request_body` beside api_key"
	case "skew", "cover", "authority", "hawk", "bewit":
		return "belongs to signatures: write it into `signature hawk message { … }`"
	case "log", "debug", "lockout", "reverse_proxy", "respond", "file_server", "handle", "route", "redir", "rewrite", "encode", "tls":
		return "is a directive of its own: write it beside api_key, behind the } that ends its block"
	}
	if strings.HasPrefix(strings.ToLower(word), "x-") && !mayBeKey(word) {
		return "write `from header " + word + "`"
	}
	return ""
}

// mayBeKey reports whether a word could be somebody's key, which must not be
// repeated. No word of ours is as long and has a digit.
func mayBeKey(word string) bool {
	return keyring.IsToken(word, keyring.DefaultTokenPrefix) || len(word) >= 16 && strings.ContainsAny(word, "0123456789")
}

// hinted is the message for a word in the wrong place.
func hinted(word, hint string) string {
	if mayBeKey(word) {
		return hint
	}
	return word + ": " + hint
}

// pathHint says what is wrong with a pattern that Caddy's matcher path takes and
// that does not match what was meant, so that its rule would guard nothing; ""
// if nothing is.
func pathHint(pattern string) string {
	for segment := range strings.SplitSeq(pattern, "/") {
		if len(segment) > 1 && segment[0] == ':' {
			return fmt.Sprintf("the path %s has no parameters in Caddy, and would match %s only as it stands there: write *, such as /users/*", pattern, segment)
		}
		if name, ok := strings.CutPrefix(segment, "{"); ok && strings.HasSuffix(name, "}") && !strings.Contains(name, ".") {
			return fmt.Sprintf("the path %s has no parameters in Caddy, and %s would be empty: write *, such as /users/*", pattern, segment)
		}
	}
	if pattern != "" && !strings.ContainsAny(pattern[:1], "/*{%") {
		return fmt.Sprintf("the path %s would never match: paths begin with /, and are no regular expressions; for those there is the matcher path_regexp", pattern)
	}
	return ""
}

// checkPaths is pathHint for the matcher of a rule, named or not.
func checkPaths(matcherSet caddy.ModuleMap) string {
	var patterns []string
	if json.Unmarshal(matcherSet["path"], &patterns) != nil {
		return "" // there is none
	}
	for _, pattern := range patterns {
		if hint := pathHint(pattern); hint != "" {
			return hint
		}
	}
	return ""
}

// checkOrder refuses an `order` that lets other directives answer before
// api_key has decided.
func checkOrder(h httpcaddyfile.Helper) error {
	order, _ := h.Option("order").([]string)
	for _, directive := range order {
		switch directive {
		case "api_key":
			return nil
		case "handle", "handle_path", "route", "respond", "reverse_proxy", "php_fastcgi", "file_server":
			return h.Errf("the global option `order` puts %s in front of api_key, so it would answer without a key: leave that line out, api_key has its place", directive)
		}
	}
	return nil
}
