package adminapi

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

var registerParams = append([]string{"format", "org"}, pageParams...)

// registerView is a key with what is within its reach.
type registerView struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Org       string        `json:"org"`
	Owner     string        `json:"owner"`
	Purpose   string        `json:"purpose"`
	State     keyring.State `json:"state"`
	Scopes    []string      `json:"scopes"`
	Roles     []string      `json:"roles"`
	Allow     []string      `json:"allow"`
	CreatedAt string        `json:"created_at"`
	ExpiresAt *string       `json:"expires_at"`
	LastUsed  *string       `json:"last_used_at"`
	Data      []string      `json:"data"`
	Reach     []reachView   `json:"reach"`
}

type reachView struct {
	Site   string   `json:"site"`
	Rule   string   `json:"rule"`
	Scopes []string `json:"scopes"`
	Signed bool     `json:"signed"`
	Audit  bool     `json:"audit"`
	Data   string   `json:"data"`
}

// register answers GET register: what kinds of data each key can get at on the
// sites of the running configuration. All of it in CSV, page by page in JSON.
func (c *call) register() error {
	query := c.r.URL.Query()
	inCSV, err := c.wantsCSV()
	if err != nil {
		return err
	}
	after, limit, err := keyPage(query)
	if err != nil {
		return err
	}
	f := keyring.Filter{Org: query.Get("org")}
	rules := c.app.PolicyRules()
	if !inCSV {
		keys, next, err := c.keys.Keys(c.r.Context(), f, after, limit)
		if err != nil {
			return err
		}
		c.write(http.StatusOK, "application/json", struct {
			Keys []registerView `json:"keys"`
			Next *string        `json:"next"`
		}{c.registerOf(keys, rules), cursor(next)})
		return nil
	}
	if after != "" || query.Get("limit") != "" {
		return refusal(invalidQuery, "csv has all keys; leave out after and limit.")
	}
	var t table
	for first := true; first || after != ""; first = false {
		var keys []*keyring.Key
		if keys, after, err = c.keys.Keys(c.r.Context(), f, after, maxLimit); err != nil {
			if first {
				return err
			}
			panic(http.ErrAbortHandler) // a list that ends early must not look whole
		}
		if first {
			t = c.csv("register", "key", "name", "org", "owner", "purpose", "state", "scopes", "roles", "allow", "created_at", "expires_at", "last_used_at", "data", "rules")
		}
		for _, v := range c.registerOf(keys, rules) {
			var names []string
			for _, r := range v.Reach {
				names = append(names, r.Site+"/"+r.Rule)
			}
			t.row(v.ID, v.Name, v.Org, v.Owner, v.Purpose, string(v.State), joined(v.Scopes), joined(v.Roles), joined(v.Allow),
				v.CreatedAt, orEmpty(v.ExpiresAt), orEmpty(v.LastUsed), joined(v.Data), joined(names))
		}
	}
	return t.end()
}

func (c *call) registerOf(keys []*keyring.Key, rules []usage.Rule) []registerView {
	views, uses := make([]registerView, len(keys)), c.lastUses(keys...)
	for i, key := range keys {
		v := registerView{
			ID: key.ID, Name: key.Name, Org: key.Org, Owner: key.Owner, Purpose: key.Purpose, State: key.State,
			Scopes: list(key.Scopes), Roles: list(key.Roles), Allow: viewAddrs(key.Allow),
			CreatedAt: viewTime(key.CreatedAt), ExpiresAt: viewLimit(key.ExpiresAt), Data: []string{}, Reach: []reachView{},
		}
		var last time.Time
		for _, u := range uses[i] {
			if u.Last.After(last) {
				last = u.Last
			}
		}
		v.LastUsed = viewLimit(last)
		for _, rule := range usage.Reach(key, c.app.RoleGrants(), rules) {
			v.Reach = append(v.Reach, reachView{rule.Site, rule.Name, list(append(slices.Clone(rule.Scopes), rule.Templates...)), rule.Signed, rule.Audit, rule.Data})
			if rule.Data != "" && !slices.Contains(v.Data, rule.Data) {
				v.Data = append(v.Data, rule.Data)
			}
		}
		views[i] = v
	}
	return views
}

func joined(list []string) string { return strings.Join(list, "; ") }

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
