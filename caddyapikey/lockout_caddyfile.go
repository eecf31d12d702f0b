package caddyapikey

import (
	"net/netip"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/lockout"
)

func init() {
	httpcaddyfile.RegisterDirective("lockout", parseLockout)
	httpcaddyfile.RegisterGlobalOption("lockout", func(d *caddyfile.Dispenser, _ any) (any, error) {
		d.Next() // for the line
		return nil, d.Err("lockout belongs to a site: write it into the block of the site that it guards")
	})
	// Behind `header`, so that the headers that all responses of a site have
	// are on its answers, too, and in front of everything that does some work.
	httpcaddyfile.RegisterDirectiveOrder("lockout", httpcaddyfile.Before, "request_body")
}

// parseLockout makes a route of the directive. It takes no matcher: what the
// matcher missed would neither be counted nor refused.
func parseLockout(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	handler := new(Lockout)
	if err := handler.unmarshal(h); err != nil {
		return nil, err
	}
	return h.NewRoute(nil, handler), nil
}

// unmarshal sets up the handler. Syntax:
//
//	lockout {
//	    name   <name>
//	    on     <status>|refused|request <number> in <duration>
//	    lock   <duration>
//	    grow   <factor> <duration>
//	    exempt <address|range|private_ranges...>
//	    prefix <bits of IPv4> <bits of IPv6>
//	}
func (l *Lockout) unmarshal(h httpcaddyfile.Helper) error {
	h.Next() // the directive's name
	if h.NextArg() {
		return h.Errf("lockout takes no argument, but got %q: a matcher here would let everything else pass uncounted; write its options in a block, or put lockout into a handle block", h.Val())
	}
	seen := make(map[string]bool)
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		option := h.Val()
		if seen[option] && option != "on" && option != "exempt" {
			return h.Errf("%s is given twice; leave one out", option)
		}
		seen[option] = true
		if err := l.unmarshalLine(h); err != nil {
			return err
		}
	}
	checked := *l // with defaults, which the adapted configuration leaves out
	if _, err := checked.settings(); err != nil {
		return h.WrapErr(err)
	}
	return nil
}

func (l *Lockout) unmarshalLine(h httpcaddyfile.Helper) error {
	switch option := h.Val(); option {
	case "name":
		if !h.AllArgs(&l.Name) {
			return h.Err("name: write one name, such as public-api")
		}
		if err := checkLockoutName(l.Name); err != nil {
			return h.WrapErr(err)
		}
	case "on":
		return l.unmarshalOn(h)
	case "lock":
		if err := durationArg(h, &l.Lock); err != nil {
			return err
		}
	case "grow":
		var factor, longest string
		if !h.AllArgs(&factor, &longest) {
			return h.Err("grow: write how many times as long each lock is as the one before, and how long at most, such as `grow 2 24h`")
		}
		n, err := strconv.Atoi(factor)
		d, wrong := caddy.ParseDuration(longest)
		if err != nil || wrong != nil || n < 2 {
			return h.Errf("grow: %q is not a number from 2 on and a duration, such as `grow 2 24h`", factor+" "+longest)
		}
		l.Grow = &LockoutGrowth{Factor: n, Longest: caddy.Duration(d)}
	case "exempt":
		args := h.RemainingArgs()
		if len(args) == 0 {
			return h.Err("exempt: write addresses or ranges, such as 192.0.2.0/24, or private_ranges")
		}
		for _, arg := range args {
			if arg == "private_ranges" {
				for _, text := range caddyhttp.PrivateRangesCIDR() {
					if prefix, err := netip.ParsePrefix(text); err == nil {
						text = prefix.Masked().String() // one has host bits
					}
					l.Exempt = append(l.Exempt, text)
				}
				continue
			}
			if _, err := keyring.ParseAddrs("exempt", []string{arg}); err != nil {
				return h.WrapErr(err)
			}
			l.Exempt = append(l.Exempt, arg)
		}
	case "prefix":
		var v4, v6 string
		if !h.AllArgs(&v4, &v6) {
			return h.Err("prefix: write how many bits of an IPv4 and of an IPv6 address are counted together, such as `prefix 32 64`")
		}
		var err, wrong error
		l.PrefixV4, err = strconv.Atoi(v4)
		l.PrefixV6, wrong = strconv.Atoi(v6)
		if err != nil || wrong != nil || l.PrefixV4 == 0 || l.PrefixV6 == 0 {
			return h.Errf("prefix: %q are not two numbers of bits, such as `prefix 32 64`", v4+" "+v6)
		}
	default:
		if hint := lockoutHint(option); hint != "" {
			return h.Errf("%s: %s", option, hint)
		}
		return h.Errf("unknown option %q: write on, lock, grow, exempt, prefix or name", option)
	}
	return noBlock(h)
}

func (l *Lockout) unmarshalOn(h httpcaddyfile.Helper) error {
	const form = "write what is counted, how many, and in what time, such as `on 429 1000 in 1m` or `on refused 20 in 1m`"
	var outcome, limit, in, window string
	if !h.AllArgs(&outcome, &limit, &in, &window) || in != "in" {
		return h.Errf("on: %s", form)
	}
	on, err := parseOutcome(outcome)
	if err != nil {
		return h.WrapErr(err)
	}
	n, err := strconv.Atoi(limit)
	if err != nil || n < 1 || n > lockout.MaxLimit {
		return h.Errf("on %s: %q is not a number from 1 to %d", on, limit, lockout.MaxLimit)
	}
	d, err := caddy.ParseDuration(window)
	if err != nil {
		return h.Errf("on %s: %q is not a duration such as 1m", on, window)
	}
	l.On = append(l.On, LockoutRule{Outcome: outcome, Limit: n, Window: caddy.Duration(d)})
	return noBlock(h)
}

// lockoutHint says what to write instead of a word that is no option, "" if
// nobody knows.
func lockoutHint(word string) string {
	if _, err := netip.ParsePrefix(word); err == nil {
		return "write `exempt " + word + "`"
	}
	if _, err := parseOutcome(word); err == nil {
		return "write `on " + word + " 1000 in 1m`"
	}
	switch word {
	case "allow", "ignore", "trusted", "whitelist":
		return "write `exempt <address or range>`"
	case "deny", "block":
		return "lock an address by hand through the admin API (POST /api_keys/lockouts), or refuse it with Caddy's matcher client_ip"
	case "window", "events", "limit":
		return "write all of a rule on one line, such as `on 429 1000 in 1m`"
	case "for", "time", "duration", "ban":
		return "write `lock 15m`"
	case "key":
		return "lockout counts client addresses; how many bits of them says `prefix 32 64`"
	case "zone", "rate_limit":
		return "belongs to the directive rate_limit, whose 429s lockout counts with `on 429 1000 in 1m`"
	case "requests":
		return "write `on request 1000 in 1m`"
	case "trusted_proxies":
		return "belongs to the global options: write it into `servers { … }` at the top of the Caddyfile"
	}
	return ""
}
