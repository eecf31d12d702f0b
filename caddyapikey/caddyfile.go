package caddyapikey

import (
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	httpcaddyfile.RegisterDirective("api_key", parseDirective)
	// Behind the rewrites, so that rules see the path that the handlers behind
	// see; before rate_limit and basic_auth, so that they can use the key.
	httpcaddyfile.RegisterDirectiveOrder("api_key", httpcaddyfile.After, "try_files")
}

// parseDirective makes a route of the directive. It takes no matcher of its
// own: what the matcher missed would pass without a key.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	var handler Handler
	if err := handler.unmarshal(h); err != nil {
		return nil, err
	}
	return h.NewRoute(nil, &handler), nil
}

// unmarshal sets up the handler. Syntax:
//
//	api_key {
//	    name <name>
//	    from bearer | basic | header <name> | query <name> | cookie <name>
//	    signature hawk|message...
//	    mode enforce|observe
//	    errors problem|caddy
//	    realm <text>
//	    relax <check...>
//	    deny <address|range|file...> {
//	        may_shrink
//	    }
//	    forward <field> <header>
//	    cors
//	    keep_credential
//
//	    public   <matcher>
//	    optional <matcher>
//	    require  <matcher> [<scope...>] {
//	        name <name>
//	        signed
//	        signed_body buffer|stream|off
//	        body_limit <size>
//	        client_cert
//	        audit
//	        data <category>
//	    }
//	}
//
// A matcher is @name, a path beginning with /, or * for all requests.
func (hd *Handler) unmarshal(h httpcaddyfile.Helper) error {
	h.Next() // the directive's name
	if err := checkOrder(h); err != nil {
		return err
	}
	if h.NextArg() {
		if !isMatcher(h.Val()) { // perhaps a key: not to be repeated
			return h.Errf("api_key takes no argument: write its rules in a block; %s", optionHint("keys"))
		}
		return h.Errf("api_key takes no argument, but got %q: a matcher here would let everything else pass without a key; write rules inside the block, such as `require %[1]s contacts:read`, or put api_key into a handle block", h.Val())
	}
	seen := make(map[string]bool)
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		option := h.Val()
		switch option {
		case "mode", "errors", "realm":
			if seen[option] {
				return h.Errf("%s is given twice; leave one out", option)
			}
			seen[option] = true
		}
		if err := hd.unmarshalLine(h); err != nil {
			return err
		}
	}
	if len(hd.Rules) == 0 {
		return h.Err("api_key has no rules, so every request would be refused: write at least `require *`, which asks for any valid key")
	}
	if hd.opensAll() {
		return h.Err("`public *` exempts all requests, so that no `require` here would count: name what needs no key, such as `public /health`")
	}
	return nil
}

func (hd *Handler) unmarshalLine(h httpcaddyfile.Helper) error {
	switch option := h.Val(); option {
	case "name":
		if !h.AllArgs(&hd.Name) {
			return h.Err("name: write one name, such as crm")
		}
		if err := checkSiteName(hd.Name); err != nil {
			return h.WrapErr(err)
		}
	case "from":
		return hd.unmarshalFrom(h)
	case "signature":
		return hd.unmarshalSignature(h)
	case "mode":
		return oneOf(h, &hd.Mode, modeEnforce, modeObserve)
	case "errors":
		return oneOf(h, &hd.Errors, errorsProblem, errorsCaddy)
	case "realm":
		if !h.AllArgs(&hd.Realm) {
			return h.Err("realm: write one text")
		}
	case "relax":
		args := h.RemainingArgs()
		if _, err := newStrict(args); err != nil || len(args) == 0 {
			if err == nil {
				err = fmt.Errorf("write one or more of %s", listChecks())
			}
			return h.Errf("relax: %v", err)
		}
		hd.Relax = append(hd.Relax, args...)
	case "deny":
		return unmarshalDeny(h.Dispenser, &hd.Deny)
	case "forward":
		var f Forward
		if !h.AllArgs(&f.Field, &f.Header) {
			return h.Err("forward: write a field and a header, such as `forward id X-Key-Id`")
		}
		if !isField(f.Field) {
			return h.Errf("forward %q: write id, name, org, tier, owner, credential, request_id or meta.<name>", f.Field)
		}
		hd.Forward = append(hd.Forward, f)
	case "cors":
		hd.CORS = true
		return noArgs(h, option)
	case "keep_credential":
		hd.KeepCredential = true
		return noArgs(h, option)
	case accessRequire, accessPublic, accessOptional:
		return hd.unmarshalRule(h)
	default:
		if hint := optionHint(option); hint != "" {
			return h.Err(hinted(option, hint))
		}
		return h.Errf("unknown option %q: write require, public, optional, name, from, forward, mode, errors, relax, deny, cors, keep_credential, realm or signature", option)
	}
	return noBlock(h)
}

func (hd *Handler) unmarshalFrom(h httpcaddyfile.Helper) error {
	args := h.RemainingArgs()
	if hint := sourceHint(args); hint != "" {
		return h.Errf("from: %s", hint)
	}
	s := Source{Kind: SourceKind(args[0])}
	if len(args) == 2 {
		s.Name = args[1]
	}
	hd.From = append(hd.From, s)
	if err := normalizeSources(slices.Clone(hd.From)); err != nil {
		return h.WrapErr(err)
	}
	return noBlock(h)
}

// oneOf reads the one argument of an option that has two possible values.
func oneOf(h httpcaddyfile.Helper, field *string, a, b string) error {
	option := h.Val()
	if !h.AllArgs(field) || *field != a && *field != b {
		return h.Errf("%s: write %s or %s", option, a, b)
	}
	return noBlock(h)
}

func noArgs(h httpcaddyfile.Helper, option string) error {
	if h.NextArg() {
		if option == "cors" {
			return h.Errf("cors takes no argument: the list of origins %s", ofKeys)
		}
		return h.Errf("%s takes no argument: write it alone", option) // which may be a secret
	}
	return noBlock(h)
}

// noBlock refuses a block behind an option that has none, instead of reading
// its lines as options.
func noBlock(h httpcaddyfile.Helper) error {
	if h.NextBlock(h.Nesting()) {
		return h.Errf("unexpected %q: this option has no block", h.Val())
	}
	return nil
}
