package adminapi

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

var sinceParams = []string{"since"}

// suggestView is the answer of GET keys/{id}/suggest.
type suggestView struct {
	Key       string         `json:"key"`
	Since     string         `json:"since"`
	Requests  uint64         `json:"requests"`
	Complete  bool           `json:"complete"`
	Unclear   []string       `json:"unclear"`
	Scopes    neededView     `json:"scopes"`
	Roles     neededView     `json:"roles"`
	Rules     []ruleNameView `json:"rules"`
	Addresses []string       `json:"addresses"`
	Patch     *patchView     `json:"patch"` // null if it would be a guess
}

type neededView struct {
	Needed   []string `json:"needed"`
	Unneeded []string `json:"unneeded"`
}

type ruleNameView struct {
	Site string `json:"site"`
	Rule string `json:"rule"`
}

// patchView is a body for PATCH keys/{id}.
type patchView struct {
	Scopes []string `json:"scopes"`
	Roles  []string `json:"roles"`
	Allow  []string `json:"allow,omitempty"`
}

// suggest answers GET keys/{id}/suggest: what the key could do without.
func (c *call) suggest() error {
	key, err := c.keys.Key(c.r.Context(), c.vars["id"])
	if err != nil {
		return err
	}
	store, s, err := c.useInSpan()
	if err != nil {
		return err
	}
	found, err := usage.Suggest(c.r.Context(), store, key, c.app.RoleGrants(), c.app.PolicyRules(), s.Since)
	if err != nil {
		return err
	}
	v := suggestView{
		Key: key.ID, Since: viewTime(found.Since), Requests: found.Requests, Complete: found.Complete, Unclear: list(found.Unclear),
		Scopes: neededView{list(found.ScopesNeeded), list(found.ScopesUnneeded)},
		Roles:  neededView{list(found.RolesNeeded), list(found.RolesUnneeded)},
		Rules:  []ruleNameView{}, Addresses: []string{},
	}
	for _, name := range found.Rules {
		v.Rules = append(v.Rules, ruleNameView{name.Site, name.Rule})
	}
	for _, place := range found.Places {
		v.Addresses = append(v.Addresses, place.String())
	}
	if found.Complete {
		v.Patch = &patchView{list(found.Scopes), list(found.RolesNeeded), viewAddrs(found.Allow)}
	}
	return c.record(http.StatusOK, key.Revision, v)
}

// list is s, never null.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// observedView is what one rule would refuse if it were enforced.
type observedView struct {
	Key   string `json:"key"` // "" for requests that proved none
	Name  string `json:"name"`
	Org   string `json:"org"`
	Owner string `json:"owner"`
	refusalUseView
}

// listObserved answers GET observed: whom the rules of sites in mode observe
// would refuse.
func (c *call) listObserved() error {
	store, s, err := c.useInSpan()
	if err != nil {
		return err
	}
	type name struct {
		key string
		usage.Refusal
	}
	tallies := make(map[name]*usage.Tally)
	err = store.Counters(c.r.Context(), usage.Query{Span: s}, func(u *usage.Counter) bool {
		if u.Observed {
			for _, rule := range append(u.Route.Rules, noRule...)[:max(len(u.Route.Rules), 1)] {
				n := name{u.Key, usage.Refusal{RuleName: usage.RuleName{Site: u.Route.Site, Rule: rule}, Reason: u.Reason, Observed: true}}
				if tallies[n] == nil {
					tallies[n] = new(usage.Tally)
				}
				tallies[n].Add(u)
			}
		}
		return c.r.Context().Err() == nil
	})
	if err == nil {
		err = c.r.Context().Err()
	}
	if err != nil {
		return err
	}
	names := usage.ByLast(tallies, func(a, b name) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Reason, b.Reason))
	})
	more := max(len(names)-maxObserved, 0)
	views := make([]observedView, 0, len(names)-more)
	for _, n := range names[:len(names)-more] {
		t := tallies[n]
		v := observedView{Key: n.key, refusalUseView: refusalUseView{n.Site, n.Rule, n.Reason, true, t.Requests, viewLimit(t.First), viewLimit(t.Last)}}
		if key, err := c.keys.Key(c.r.Context(), n.key); err == nil {
			v.Name, v.Org, v.Owner = key.Name, key.Org, key.Owner
		}
		views = append(views, v)
	}
	slices.SortStableFunc(views, func(a, b observedView) int { return cmp.Compare(b.Requests, a.Requests) })
	c.write(http.StatusOK, "application/json", struct {
		Observed []observedView `json:"observed"`
		More     int            `json:"more,omitzero"`
	}{views, more})
	return nil
}

// maxObserved bounds the answer; the latest are shown.
const maxObserved = 5000

var noRule = []string{""}
