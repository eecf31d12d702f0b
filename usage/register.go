package usage

import (
	"slices"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Reach returns the rules of all sites that a key has the scopes for, and so the
// data that it can get at. Rules without scopes are within everybody's reach;
// public ones are not about keys.
//
// A scope with placeholders is within reach if some value of them would do.
func Reach(key *keyring.Key, roles keyring.Roles, rules []Rule) []Rule {
	grants, err := keyring.NewGrants(key.Scopes)
	if err != nil {
		grants = nil // no such key is ever stored
	}
	covers := func(scope string) bool {
		return grants.Covers(scope) || slices.ContainsFunc(key.Roles, func(role string) bool { return roles[role].Covers(scope) })
	}
	mayCover := func(template string) bool {
		return grants.MayCover(template) || slices.ContainsFunc(key.Roles, func(role string) bool { return roles[role].MayCover(template) })
	}
	var reach []Rule
	for _, rule := range rules {
		if rule.Access == "public" {
			continue
		}
		missing := slices.ContainsFunc(rule.Scopes, func(s string) bool { return !covers(s) }) ||
			slices.ContainsFunc(rule.Templates, func(s string) bool { return !mayCover(s) })
		if !missing {
			reach = append(reach, rule)
		}
	}
	return reach
}
