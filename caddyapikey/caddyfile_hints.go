package caddyapikey

import (
	"slices"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// The messages here answer words that stand in the wrong place: a reader who
// guessed is told what to write instead. What is written behind such a word may
// be a key, so it is never repeated.

// ofKeys are what a newcomer looks for in the Caddyfile and belongs to keys.
const ofKeys = "belongs to each key, not to the Caddyfile: set it where keys are created, in the admin API (POST /api_keys/keys)"

// optionHint says where a word belongs that is no option of the directive, ""
// if nobody knows.
func optionHint(word string) string {
	switch word {
	case "store", "role", "token_prefix", "master_key", "retain":
		return "belongs to all sites: write it into `api_keys { … }` in the global options, at the top of the Caddyfile"
	case "allow", "origins", "expires_at", "not_before", "tier", "owner":
		return ofKeys
	case "key", "keys", "token", "tokens", "secret":
		return "keys do not stand in the Caddyfile: create or import them through the admin API (POST /api_keys/keys, /api_keys/import)"
	case "scope", "scopes":
		return "write scopes behind the requests that need them, such as `require * contacts:read`"
	case "header", "query", "cookie":
		return "write `from " + word + " <name>`"
	case "bearer", "basic":
		return "write `from " + word + "`"
	case "observe", "enforce":
		return "write `mode " + word + "`"
	case "path", "method", "host", "remote_ip", "client_ip":
		return "define a matcher beside api_key, such as `@mine " + word + " …`, and write `require @mine` here"
	case "limit", "limits", "quota":
		return "belongs to a key or an org, set in the admin API, or to a tier: write `tier <name> {` and a line `limit 100/1s 1000000/month` into `api_keys { … }` in the global options"
	case "cost", "client_cert":
		return "belongs to a rule: write it into the block of a `require`"
	case "client_certs", "client_certificate", "client_auth", "mtls":
		return "write `client_cert` into the block of a `require`, and `client_auth` into the directive tls of the site"
	case "match", "matcher", "rule":
		return "write `require <matcher> <scopes>`, such as `require /admin/* admin:all`"
	case "rate_limit":
		return "is a directive of its own: write it beside api_key, with `key {http.auth.user.id}`"
	}
	if strings.HasPrefix(word, "@") {
		return "define matchers beside api_key, not in it, and write `require " + word + "` here"
	}
	if mayBeKey(word) {
		return optionHint("key")
	}
	if lower := strings.ToLower(word); lower != word && isOption(lower) {
		return "write " + lower + ", in small letters"
	}
	return foreignHint(word)
}

// isOption reports whether the directive has an option.
func isOption(word string) bool {
	switch word {
	case accessRequire, accessPublic, accessOptional, "name", "from", "signature", "mode", "errors", "realm", "relax", "deny", "forward", "cors", "keep_credential":
		return true
	}
	return false
}

// isCondition reports whether the block of a rule has a line of that name.
func isCondition(word string) bool {
	switch word {
	case "name", "signed", "signed_body", "body_limit", "client_cert", "cost", "audit", "data":
		return true
	}
	return false
}

// conditionHint is optionHint for the block of a rule.
func conditionHint(word string) string {
	if isCondition(word) {
		return ""
	}
	switch word {
	case "scope", "scopes":
		return "write scopes on the line of the rule, such as `require * contacts:read {`"
	case "role", "roles":
		return "a rule asks for scopes; a role is what a key holds, set where keys are created"
	case "path", "method", "host", "match":
		return "write the matcher on the line of the rule, such as `require @name {`"
	case "signature", "sign":
		return "write `signed`"
	case "client_certs", "client_certificate", "client_auth", "mtls":
		return "write `client_cert`"
	case "from", "mode", "errors", "realm", "relax", "forward", "cors", "keep_credential", accessRequire, accessPublic, accessOptional:
		return "belongs to the whole site: write it beside the rules, not in one"
	case "description", "comment":
		return "write a line that begins with #"
	case "deny":
		return "addresses are denied on all routes: write it beside the rules, not in one"
	}
	return optionHint(word)
}

// globalHint is optionHint for the global option.
func globalHint(word string) string {
	switch word {
	case accessRequire, accessPublic, accessOptional, "from", "mode", "errors", "relax", "forward", "cors", "keep_credential", "realm", "signature":
		return "belongs to a site: write it into the `api_key { … }` block there"
	case "database", "db", "file":
		return "write `store bolt <path>`"
	case "retention":
		return "write `retain`, such as `retain usage 400d calls 30d`"
	case "lockout":
		return "is a directive: write it into a site"
	case "roles":
		return "write one line for each role, such as `role reader contacts:read deals:read`"
	case "prefix":
		return "write `token_prefix <prefix>`"
	case "path":
		return "write `store bolt <path>`"
	case "admin", "log":
		return "is an option of Caddy: write it in front of or behind api_keys, not in it"
	}
	if hint := optionHint(word); strings.Contains(hint, "admin API") {
		return hint
	}
	return ""
}

// scopeHint says what is wrong with words that were meant as scopes and are
// something else, "" if nothing is.
func scopeHint(access string, words []string) string {
	for i, word := range words {
		switch {
		case strings.HasPrefix(word, "@") || strings.HasPrefix(word, "/") || word == "*" && access != accessRequire:
			return "one rule has one matcher: write one line for each, or define one matcher for both, such as `@mine path /a /b`"
		case keyring.IsToken(word, keyring.DefaultTokenPrefix):
			return optionHint("key")
		case word == "{signed}" || word == "{audit}" || word == "{client_cert}":
			return "a block begins with { at the end of the line, and each line in it stands alone"
		case strings.ContainsAny(word, ",;"):
			return "write spaces between scopes, such as `contacts:read deals:read`"
		case len(words) > 1 && slices.Contains([]string{"or", "and", "any", "all", "not"}, word):
			return "a rule asks for all of its scopes, written one behind the other without " + word + "; for one of several, write one scope and give it to all of those keys"
		case len(words) > 1 && i == 0 && (word == "scope" || word == "scopes"):
			return "write the scopes alone, without the word " + word
		case len(words) > 1 && i == 0 && (word == "role" || word == "roles"):
			return "a rule asks for scopes; a role is what a key holds, set where keys are created"
		}
	}
	return ""
}

// forwardHint says how a field is written that seems natural and is none, "" if
// nobody knows.
func forwardHint(f Forward) string {
	switch field := strings.Trim(f.Field, "{}"); {
	case isField(f.Field):
		return ""
	case isField(f.Header):
		return "write the field first, such as `forward " + f.Header + " X-Key-Id`"
	case isField(strings.TrimPrefix(field, "http.api_key.")):
		return "write the field alone, such as `forward " + strings.TrimPrefix(field, "http.api_key.") + " X-Key-Id`"
	case isField(strings.ToLower(field)):
		return "write " + strings.ToLower(field) + ", in small letters"
	case strings.HasPrefix(field, "metadata."):
		return "write meta." + strings.TrimPrefix(field, "metadata.")
	}
	switch f.Field {
	case "key", "key_id", "user", "user_id", "consumer":
		return "write `forward id <header>`"
	case "scope", "scopes", "role", "roles", "tag", "tags":
		return "is not told to the upstream: ask for scopes by `require`, or write what the upstream needs into the metadata of keys and `forward meta.<name> <header>`"
	case "token", "secret", "credentials":
		return "no secret is told to the upstream; `keep_credential` leaves the accepted key in the request"
	}
	return ""
}

// sourceHint says how a place of keys is written, "" if the words are a place.
func sourceHint(words []string) string {
	const all = "write bearer, basic, header <name>, query <name> or cookie <name>"
	if len(words) == 0 {
		return all
	}
	kind := SourceKind(strings.ToLower(words[0]))
	switch kind {
	case SourceBearer, SourceBasic:
		if len(words) > 1 {
			return "write `from " + string(kind) + "` alone; each place has a line of its own, and keys do not stand in the Caddyfile"
		}
	case SourceHeader, SourceQuery, SourceCookie:
		if len(words) > 2 && strings.EqualFold(words[1], "Authorization") {
			return "write `from bearer` for Authorization: Bearer"
		}
		if len(words) != 2 {
			example := "api_key"
			if kind == SourceHeader {
				example = "X-API-Key"
			}
			return "write one name behind it, such as `from " + string(kind) + " " + example + "`; each place has a line of its own"
		}
	case "authorization":
		return "write `from bearer` for Authorization: Bearer"
	default:
		if strings.HasPrefix(string(kind), "x-") {
			return "write `from header " + words[0] + "`"
		}
		return all
	}
	if string(kind) != words[0] {
		return "write " + string(kind) + ", in small letters"
	}
	return ""
}
