package caddyapikey

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// unmarshalRule reads require, public or optional.
func (hd *Handler) unmarshalRule(h httpcaddyfile.Helper) error {
	access := h.Val()
	rule := &Rule{Access: access}
	if access == accessRequire {
		rule.Access = "" // the default
	}
	matcherSet, ok, err := h.MatcherToken()
	if err != nil {
		return h.Errf("%s %s: no such matcher is defined: write one beside api_key, such as `@read method GET HEAD`", access, h.Val())
	}
	if !ok {
		example := "/health"
		if access == accessRequire {
			example = "* contacts:read"
		}
		return h.Errf("%s: write which requests it is about: @name of a matcher, a path beginning with /, or * for all, such as `%[1]s %s`", access, example)
	}
	rule.Name = hd.freeName(ruleName(h.Val()))
	if hint := checkPaths(matcherSet); hint != "" {
		return h.Errf("%s: %s", access, hint)
	}
	if matcherSet != nil {
		rule.MatcherSetsRaw = caddyhttp.RawMatcherSets{matcherSet}
	}
	rule.Scopes = h.RemainingArgs()
	if hint := scopeHint(access, rule.Scopes); hint != "" {
		return h.Errf("%s: %s", access, hint)
	}
	if access != accessRequire && len(rule.Scopes) > 0 {
		return h.Errf("%s takes no scopes: write `require` for those", access)
	}
	for _, s := range rule.Scopes {
		if _, err := parseScopeTemplate(s); err != nil {
			return h.WrapErr(err)
		}
	}
	lines := make(once)
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		if err := lines.see(h); err != nil {
			return err
		}
		if err := hd.unmarshalCondition(h, access, rule); err != nil {
			return err
		}
	}
	hd.Rules = append(hd.Rules, rule)
	return nil
}

func (hd *Handler) unmarshalCondition(h httpcaddyfile.Helper, access string, rule *Rule) error {
	condition := h.Val()
	if hint := conditionHint(condition); hint != "" {
		return h.Err(hinted(condition, hint))
	}
	if access != accessRequire && condition != "name" && condition != "data" {
		return h.Errf("%s is no line of %s, which takes only name and data: write it into the block of a `require`", condition, access)
	}
	switch condition {
	case "name":
		if !h.AllArgs(&rule.Name) || rule.Name == "" {
			return h.Err("name: write one name, in quotes if it has spaces, such as `name export`")
		}
		if hd.hasRule(rule.Name) {
			return h.Errf("name: another rule is named %q", rule.Name)
		}
	case "data":
		if !h.AllArgs(&rule.Data) || rule.Data == "" {
			return h.Err("data: write one category, in quotes if it has spaces, such as `data \"contact details\"`")
		}
	case "signed":
		rule.Signed = true
		return noArgs(h, condition)
	case "client_cert":
		rule.ClientCert = true
		return noArgs(h, condition)
	case "signed_body":
		if !h.AllArgs(&rule.SignedBody) {
			return h.Err("signed_body: write buffer, stream or off")
		}
		if err := checkSignedBody(rule.SignedBody); err != nil {
			return h.WrapErr(err)
		}
	case "body_limit":
		if err := sizeArg(h, &rule.BodyLimit); err != nil {
			return err
		}
	case "cost":
		if err := costArg(h, rule); err != nil {
			return err
		}
	case "audit":
		rule.Audit = true
		return noArgs(h, condition)
	default:
		return h.Errf("unknown condition %q: write name, signed, signed_body, body_limit, client_cert, cost, audit or data", condition)
	}
	return noBlock(h)
}

// isMatcher reports whether a word has the form of a matcher.
func isMatcher(word string) bool {
	return word == "*" || strings.HasPrefix(word, "@") || strings.HasPrefix(word, "/")
}

// ruleName names a rule after its matcher.
func ruleName(matcher string) string {
	switch {
	case matcher == "*":
		return "all"
	case strings.HasPrefix(matcher, "@"):
		return matcher[1:]
	}
	return matcher
}

// freeName returns name, with a number if another rule has it.
func (hd *Handler) freeName(name string) string {
	free := name
	for n := 2; hd.hasRule(free); n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	return free
}

func (hd *Handler) hasRule(name string) bool {
	for _, r := range hd.Rules {
		if r.Name == name {
			return true
		}
	}
	return false
}
