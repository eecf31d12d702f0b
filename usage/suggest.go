package usage

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Rule is what a rule of the running configuration asks for.
type Rule struct {
	Site      string
	Name      string
	Access    string // require, optional or public
	Signed    bool
	Audit     bool
	Data      string   // what kind of data it gives access to
	Scopes    []string // those that are the same for every request
	Templates []string // those with placeholders
}

// Suggestion is how a key could be narrowed to what it was used for.
type Suggestion struct {
	Since    time.Time // the record's own beginning, if that is later than what was asked for
	Requests uint64
	Complete bool // nothing that was needed can be missing

	ScopesNeeded   []string // of the key's own, in their order
	ScopesUnneeded []string
	Scopes         []string // what the key would need instead, beside RolesNeeded
	RolesNeeded    []string
	RolesUnneeded  []string
	Rules          []RuleName
	Places         []Place

	// Allow is the narrowest address list that covers Places, nil if they are
	// not all known.
	Allow []netip.Prefix

	// Unclear says what stands in the way of a complete suggestion.
	Unclear []string
}

func comparePlaces(a, b Place) int { return cmp.Compare(a.String(), b.String()) }

func compareRules(a, b RuleName) int {
	return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Rule, b.Rule))
}

// maxNarrowed is how many scopes may stand in for one with a wildcard.
const maxNarrowed = 32

// maxSuggestedAddrs bounds a suggested address list; a key that is used from
// more places is not one to bind to addresses.
const maxSuggestedAddrs = 64

// Suggest compares what a key may do with what it did. Only requests that were
// let in count: what was refused was not needed, and what passed in mode observe
// would not have been.
func Suggest(ctx context.Context, store Store, key *keyring.Key, roles keyring.Roles, rules []Rule, since time.Time) (*Suggestion, error) {
	began, err := store.Since(ctx)
	if err != nil {
		return nil, err
	}
	if since.Before(began) {
		since = began
	}
	summary, err := Summarize(ctx, store, Query{Span: Span{Since: since}, Key: key.ID}, func(c *Counter) bool { return c.Reason == "" })
	if err != nil {
		return nil, err
	}
	s := &Suggestion{Since: since, Requests: summary.Requests}
	needed, err := s.neededScopes(ctx, store, key.ID, summary, rules, since)
	if err != nil {
		return nil, err
	}
	s.judge(key, roles, needed)
	s.Places = ByLast(summary.Places, comparePlaces)
	s.suggestAllow()
	gaps, err := store.Gaps(ctx, Span{Since: since})
	if err != nil {
		return nil, err
	}
	for _, gap := range gaps {
		if gap.Why == GapCrash {
			s.Unclear = append(s.Unclear, "the server ended without writing its last second on "+gap.Until.Format(time.RFC3339))
		}
	}
	s.Complete = len(s.Unclear) == 0 && s.Requests > 0
	return s, nil
}

// neededScopes returns the scopes that the rules asked for which let the key in.
func (s *Suggestion) neededScopes(ctx context.Context, store Store, key string, summary *Summary, rules []Rule, since time.Time) ([]string, error) {
	known := make(map[RuleName]*Rule, len(rules))
	for i := range rules {
		known[RuleName{rules[i].Site, rules[i].Name}] = &rules[i]
	}
	var needed []string
	templates := false
	s.Rules = ByLast(summary.Rules, compareRules)
	for _, name := range s.Rules {
		rule := known[name]
		if rule == nil {
			s.Unclear = append(s.Unclear, "the running configuration has no rule "+name.Rule+" on site "+name.Site+", so what it asked for is not known")
			continue
		}
		templates = templates || len(rule.Templates) > 0
		needed = append(needed, rule.Scopes...)
	}
	if !templates {
		return needed, nil
	}
	uses, err := store.Scopes(ctx, key)
	if err != nil {
		return nil, err
	}
	for _, use := range uses {
		switch {
		case use.Last.Before(since):
		case use.Scope == "":
			s.Unclear = append(s.Unclear, "the key needed more scopes by placeholders than are kept apart")
		default:
			needed = append(needed, use.Scope)
		}
	}
	return needed, nil
}

// judge tells which of the key's scopes and roles covered something needed, and
// what the key would need instead.
func (s *Suggestion) judge(key *keyring.Key, roles keyring.Roles, needed []string) {
	slices.Sort(needed)
	needed = slices.Compact(needed)
	for _, role := range key.Roles {
		if slices.ContainsFunc(needed, roles[role].Covers) {
			s.RolesNeeded = append(s.RolesNeeded, role)
		} else {
			s.RolesUnneeded = append(s.RolesUnneeded, role)
		}
	}
	for _, scope := range key.Scopes {
		grants, err := keyring.NewGrants([]string{scope})
		if err == nil && !slices.ContainsFunc(needed, grants.Covers) {
			s.ScopesUnneeded = append(s.ScopesUnneeded, scope)
			continue
		}
		s.ScopesNeeded = append(s.ScopesNeeded, scope)
		var under []string
		for _, n := range needed {
			if grants.Covers(n) && !slices.ContainsFunc(s.RolesNeeded, func(role string) bool { return roles[role].Covers(n) }) {
				under = append(under, n)
			}
		}
		if len(under) > maxNarrowed {
			under = []string{scope} // what it covers is many things; leave it
		}
		s.Scopes = append(s.Scopes, under...)
	}
	slices.Sort(s.Scopes)
	s.Scopes = slices.Compact(s.Scopes)
}

func (s *Suggestion) suggestAllow() {
	if len(s.Places) == 0 || len(s.Places) > maxSuggestedAddrs {
		return
	}
	var allow []netip.Prefix
	for _, place := range s.Places {
		prefix, known := place.Prefix()
		if !known {
			return
		}
		allow = append(allow, prefix)
	}
	slices.SortFunc(allow, netip.Prefix.Compare)
	s.Allow = allow
}
