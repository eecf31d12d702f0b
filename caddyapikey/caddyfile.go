package caddyapikey

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
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
	warnOfNoAdmin(h)
	if h.NextArg() {
		if !isMatcher(h.Val()) { // perhaps a key: not to be repeated
			return h.Errf("api_key takes no argument: write its rules in a block; %s", optionHint("keys"))
		}
		return h.Errf("api_key takes no argument, but got %q: a matcher here would let everything else pass without a key; write rules inside the block, such as `require %[1]s contacts:read`, or put api_key into a handle block", h.Val())
	}
	lines := make(once)
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		start := *h.Dispenser
		if !repeatable(h.Val()) {
			if err := lines.see(h); err != nil {
				return err
			}
		}
		if err := hd.unmarshalLine(h); err != nil {
			return err
		}
		switch start.Val() {
		case "forward":
			f := hd.Forward[len(hd.Forward)-1]
			lines["forward "+http.CanonicalHeaderKey(f.Header)] = start
		case accessRequire, accessPublic, accessOptional:
			lines[lineOf(hd.Rules[len(hd.Rules)-1])] = start
		}
	}
	if len(hd.Rules) == 0 {
		return h.Err("api_key has no rules, so every request would be refused: write at least `require *`, which asks for any valid key")
	}
	if hd.opensAll() {
		return lines.wrap(h, hd.opening(), errOpensAll)
	}
	if line, err := hd.conflict(); err != nil {
		return lines.wrap(h, line, err)
	}
	return nil
}

// repeatable reports whether an option may stand more than once in a block.
func repeatable(option string) bool {
	switch option {
	case "from", "relax", "deny", "forward", accessRequire, accessPublic, accessOptional:
		return true
	}
	return false
}

// once has the lines of a block by their option, and refuses an option that
// stands there already: one of the two would silently not count.
type once map[string]caddyfile.Dispenser

func (o once) see(h httpcaddyfile.Helper) error {
	option := h.Val()
	if first, again := o[option]; again {
		return h.Errf("%s is given twice, first on line %d; leave one out", option, first.Line())
	}
	o[option] = *h.Dispenser
	return nil
}

// wrap says that an error is on one of the lines, if it is known.
func (o once) wrap(h httpcaddyfile.Helper, line string, err error) error {
	if start, ok := o[line]; ok {
		return start.WrapErr(err)
	}
	return h.WrapErr(err)
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
			return h.Err("realm: write one text, in quotes if it has spaces, such as `realm \"contacts api\"`")
		}
		if err := checkRealm(hd.Realm); err != nil {
			return h.WrapErr(err)
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
		if hint := forwardHint(f); hint != "" {
			return h.Errf("forward %s: %s", f.Field, hint)
		}
		hd.Forward = append(hd.Forward, f)
		if err := f.normalize(); err != nil {
			return h.WrapErr(err)
		}
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
