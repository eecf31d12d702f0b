package caddyapikey

import (
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// Tier is what the keys and orgs of a tier have in common.
type Tier struct {
	// What each of its keys may spend, such as `100/1s`, `10000/1h`, `50000/day`
	// or `1000000/month`. A key's own limit of the same window takes the place of
	// one of these.
	Limits []string `json:"limits,omitempty"`

	// What the keys of each of its orgs may spend together. An org's own limit of
	// the same window takes the place of one of these.
	OrgLimits []string `json:"org_limits,omitempty"`
}

// tierLimits is a compiled Tier.
type tierLimits struct{ key, org []limit.Limit }

// provisionTiers compiles the tiers.
func (a *App) provisionTiers() error {
	a.tiers = make(map[string]tierLimits, len(a.Tiers))
	for name, tier := range a.Tiers {
		if tier == nil {
			tier = new(Tier)
		}
		if err := keyring.ValidateTierName(name); err != nil {
			return err
		}
		var compiled tierLimits
		var err error
		if compiled.key, err = keyring.ParseLimits("limits", tier.Limits); err != nil {
			return fmt.Errorf("tier %s: %w", name, err)
		}
		if compiled.org, err = keyring.ParseLimits("org_limits", tier.OrgLimits); err != nil {
			return fmt.Errorf("tier %s: %w", name, err)
		}
		a.tiers[name] = compiled
	}
	return nil
}

// HasTier reports whether keys and orgs may be of a tier: one that the
// configuration defines, or any if it defines none.
func (a *App) HasTier(name string) bool {
	_, defined := a.tiers[name]
	return defined || len(a.tiers) == 0
}

// unmarshalTier reads one tier.
func (a *App) unmarshalTier(d *caddyfile.Dispenser) error {
	const usage = "tier: write a name and a block with limits, such as `tier gold {` and a line `limit 100/1s 1000000/month`"
	var name string
	if !d.AllArgs(&name) {
		return d.Err(usage)
	}
	if err := keyring.ValidateTierName(name); err != nil {
		return d.WrapErr(err)
	}
	if a.Tiers[name] != nil {
		return d.Errf("tier %s is defined twice; write all of its limits into one block", name)
	}
	tier := new(Tier)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var list *[]string
		switch d.Val() {
		case "limit":
			list = &tier.Limits
		case "org_limit":
			list = &tier.OrgLimits
		case "{":
			return d.Err("unexpected {: limits have no block; write all of them on one line, such as `limit 100/1s 1000000/month`")
		default:
			return d.Errf("unknown option %q of a tier: write limit or org_limit", d.Val())
		}
		option, args := d.Val(), d.RemainingArgs()
		if len(args) == 0 {
			return d.Errf("%s: write limits, such as `%[1]s 100/1s 1000000/month`", option)
		}
		*list = append(*list, args...)
		if _, err := keyring.ParseLimits(option, *list); err != nil {
			return d.WrapErr(err)
		}
	}
	if len(tier.Limits)+len(tier.OrgLimits) == 0 {
		return d.Err(usage)
	}
	if a.Tiers == nil {
		a.Tiers = make(map[string]*Tier)
	}
	a.Tiers[name] = tier
	return nil
}

// costArg reads the cost of a rule.
func costArg(h httpcaddyfile.Helper, rule *Rule) error {
	var text string
	if !h.AllArgs(&text) {
		return h.Err("cost: write one number of units, such as `cost 10`")
	}
	cost, err := strconv.ParseUint(text, 10, 64)
	if err != nil || cost > limit.MaxCost {
		return h.Errf("cost: %q is not a whole number from 0 to %d", text, limit.MaxCost)
	}
	rule.Cost = &cost
	return nil
}
