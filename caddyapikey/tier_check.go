package caddyapikey

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// faultTiers is a reason of Fault: keys or orgs name tiers that have no limits.
const faultTiers = "tier_undefined"

// maxToldTiers bounds how many are named.
const maxToldTiers = 8

// checkTiers warns of keys and orgs whose tier is not defined, and so has no
// limits. Where the configuration defines none, a tier is a mere label, unless
// before, the app of the configuration that ran until now, knew it to be more.
func (a *App) checkTiers(before *App) {
	lost := make(map[string]bool)
	if before != nil {
		used := a.tiersInUse()
		note := func(name string) {
			if _, defined := a.tiers[name]; !defined && used[name] != (keyring.TierUse{}) {
				lost[name] = true
			}
		}
		for name, limits := range before.tiers {
			if len(limits.key)+len(limits.org) > 0 {
				note(name)
			}
		}
		if earlier := before.lostTiers.Load(); earlier != nil {
			for name := range *earlier {
				note(name)
			}
		}
	}
	a.lostTiers.Store(&lost)
	for _, fault := range a.tierFaults() {
		a.logger.Warn(fault.Detail)
	}
}

// tiersInUse returns the tiers that keys and orgs name.
func (a *App) tiersInUse() map[string]keyring.TierUse {
	if kr := a.Keyring(); kr != nil {
		return kr.TiersInUse()
	}
	return nil
}

// tierFaults tells which tiers that keys and orgs name are not defined.
func (a *App) tierFaults() []keyring.Fault {
	lost := a.lostTiers.Load()
	if len(a.tiers) == 0 && (lost == nil || len(*lost) == 0) {
		return nil
	}
	missing := a.tiersInUse()
	maps.DeleteFunc(missing, func(name string, _ keyring.TierUse) bool {
		_, defined := a.tiers[name]
		return defined || len(a.tiers) == 0 && !(*lost)[name]
	})
	if len(missing) == 0 {
		return nil
	}
	return []keyring.Fault{{Reason: faultTiers, Note: true, Detail: fmt.Sprintf("keys and orgs have no limits of their tier, since the configuration does not define it: %s. "+
		"Define it by `tier` in `api_keys` of the global options, or give them another tier, or none", tellTiers(missing))}}
}

// tellTiers names tiers with how many keys and orgs name them, those of most first.
func tellTiers(use map[string]keyring.TierUse) string {
	names := slices.SortedFunc(maps.Keys(use), func(a, b string) int {
		return cmp.Or(cmp.Compare(use[b].Keys+use[b].Orgs, use[a].Keys+use[a].Orgs), strings.Compare(a, b))
	})
	var told []string
	for _, name := range names[:min(len(names), maxToldTiers)] {
		told = append(told, fmt.Sprintf("%s (keys: %d, orgs: %d)", name, use[name].Keys, use[name].Orgs))
	}
	if more := len(names) - len(told); more > 0 {
		told = append(told, fmt.Sprintf("and %d more tiers", more))
	}
	return strings.Join(told, ", ")
}
