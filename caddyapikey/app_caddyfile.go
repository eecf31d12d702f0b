package caddyapikey

import (
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("api_keys", parseGlobalOption)
}

// parseGlobalOption makes the app's configuration of the global option.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next() // for the line
		return nil, d.Err("the global option api_keys is given twice; write all of it in one block")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "api_keys", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app. Syntax:
//
//	api_keys {
//	    store <module> [<args...>]
//	    master_key <placeholder...>
//	    token_prefix <prefix>
//	    role <name> <scope...>
//	    tier <name> {
//	        limit <limit...>
//	        org_limit <limit...>
//	    }
//	    retain [usage <duration>] [calls <duration>] [last_calls <n>] [audit <duration>]
//	    expiry_warning <duration>|off
//	    recent_use <duration>|off
//	    unused_after <duration>|off
//	    anomaly {
//	        addresses <number> in <duration>
//	        surge <factor>x over <duration> [min <number>]
//	        suspend
//	    }
//	    deny <address|range|file...> {
//	        may_shrink
//	    }
//	}
//
// Durations take the units of Caddy and y, a year of 365 days.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.Errf("api_keys takes no argument, but got %q; write its options in a block", d.Val())
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if option == "{" {
			return d.Err("unexpected {: the option in front of it has no block")
		}
		if option != "role" && option != "tier" && option != "deny" && seen[option] {
			return d.Errf("%s is given twice; write it once", option)
		}
		seen[option] = true
		if err := a.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "store":
		if !d.NextArg() {
			return d.Err("store: write the kind of store, such as `store bolt /var/lib/caddy/api_keys.db`")
		}
		name := d.Val()
		id := "api_keys.stores." + name
		if strings.ContainsAny(name, `/\`) {
			return d.Errf("store %s: write the kind of store in front of the path: `store bolt %[1]s`", name)
		}
		if _, err := caddy.GetModule(id); err != nil {
			return d.Errf("store %s: this Caddy has no module %s; write `store bolt <path>`", name, id)
		}
		module, err := caddyfile.UnmarshalModule(d, id)
		if err != nil {
			return err
		}
		a.StoreRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
	case "master_key":
		if a.MasterKeys = d.RemainingArgs(); len(a.MasterKeys) == 0 {
			return d.Err("master_key: write where it is, such as {file./run/secrets/api_keys}; the first of several seals, the others only open")
		}
		for _, reference := range a.MasterKeys {
			if err := checkMasterKeyReference(reference); err != nil {
				return d.WrapErr(err)
			}
		}
	case "token_prefix":
		if !d.AllArgs(&a.Prefix) {
			return d.Err("token_prefix: write one prefix, such as ck")
		}
		if mayBeKey(a.Prefix) {
			return d.Err("token_prefix: write what tokens begin with, such as ck or acme_live, not a token")
		}
		if err := keyring.ValidateTokenPrefix(a.Prefix); err != nil {
			return d.WrapErr(err)
		}
	case "role":
		args := d.RemainingArgs()
		if len(args) < 2 {
			return d.Err("role: write a name and its scopes, such as `role reader contacts:read deals:read`")
		}
		if a.Roles[args[0]] != nil {
			return d.Errf("role %s is defined twice; write all of its scopes on one line", args[0])
		}
		if hint := scopeHint(accessRequire, args[1:]); hint != "" {
			return d.Errf("role %s: %s", args[0], hint)
		}
		if _, err := keyring.NewRoles(map[string][]string{args[0]: args[1:]}); err != nil {
			return d.Errf("%v: write it as in `role reader contacts:read deals:read`", err)
		}
		if a.Roles == nil {
			a.Roles = make(map[string][]string)
		}
		a.Roles[args[0]] = args[1:]
	case "tier":
		return a.unmarshalTier(d)
	case "retain":
		return a.unmarshalRetain(d)
	case "expiry_warning":
		return unmarshalNotice(d, option, &a.ExpiryWarning, "7d")
	case "recent_use":
		return unmarshalNotice(d, option, &a.RecentUse, "24h")
	case "unused_after":
		return unmarshalNotice(d, option, &a.UnusedAfter, "90d")
	case "anomaly":
		return a.unmarshalAnomaly(d)
	case "deny":
		return unmarshalDeny(d, &a.Deny)
	default:
		if hint := globalHint(option); hint != "" {
			return d.Err(hinted(option, hint))
		}
		return d.Errf("unknown option %q: write store, token_prefix, role, tier, master_key, retain, expiry_warning, recent_use, unused_after, anomaly or deny", option)
	}
	return nil
}

func (a *App) unmarshalRetain(d *caddyfile.Dispenser) error {
	const usage = "retain: write records and how long they are kept, such as `retain usage 400d calls 30d last_calls 200 audit 5y`"
	args := d.RemainingArgs()
	if len(args) == 0 || len(args)%2 != 0 {
		return d.Err(usage)
	}
	a.Retain = new(Retain)
	seen := make(map[string]bool)
	for ; len(args) > 0; args = args[2:] {
		if seen[args[0]] {
			return d.Errf("retain: %s is given twice; leave one out", args[0])
		}
		seen[args[0]] = true
		if args[0] == "last_calls" {
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 1 || n > maxLastCalls {
				return d.Errf("retain last_calls: %q is not a number from 1 to %d", args[1], maxLastCalls)
			}
			a.Retain.LastCalls = n
			continue
		}
		field, ok := map[string]*caddy.Duration{"usage": &a.Retain.Usage, "calls": &a.Retain.Calls, "audit": &a.Retain.Audit}[args[0]]
		if !ok {
			return d.Err(usage)
		}
		duration, err := parseRetention(args[1])
		if err != nil || duration <= 0 {
			return d.Errf("retain %s: %q is not a duration such as 30d or 5y", args[0], args[1])
		}
		if err := checkKept("retain "+args[0], duration); err != nil {
			return d.WrapErr(err)
		}
		*field = caddy.Duration(duration)
	}
	return nil
}

// unmarshalNotice reads a duration, or off.
func unmarshalNotice(d *caddyfile.Dispenser, option string, field *caddy.Duration, example string) error {
	var text string
	if !d.AllArgs(&text) {
		return d.Errf("%s: write one duration, such as %s, or off", option, example)
	}
	if text == "off" {
		*field = -1
		return nil
	}
	duration, err := parseRetention(text)
	if err != nil || duration <= 0 {
		return d.Errf("%s: %q is not a duration such as %s, or off", option, text, example)
	}
	if option == "unused_after" {
		if err := checkKept(option, duration); err != nil {
			return d.WrapErr(err)
		}
	}
	*field = caddy.Duration(duration)
	return nil
}

// parseRetention is caddy.ParseDuration with years.
func parseRetention(s string) (time.Duration, error) {
	if years, ok := strings.CutSuffix(s, "y"); ok {
		n, err := strconv.ParseUint(years, 10, 7)
		return time.Duration(n) * 365 * 24 * time.Hour, err
	}
	return caddy.ParseDuration(s)
}

// Interface guards
var _ caddyfile.Unmarshaler = (*App)(nil)
