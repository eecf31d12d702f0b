package caddyapikey

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/limit"
)

// Values of Rule.Access.
const (
	accessRequire  = "require"
	accessPublic   = "public"
	accessOptional = "optional"
)

// Rule is one line of a site's policy.
type Rule struct {
	// What the rule is called in logs and reports. Default: `rule-` and its
	// number.
	Name string `json:"name,omitempty"`

	// The requests that the rule is about; empty: all.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// `require`: a key in force that has all scopes. `optional`: the same, or
	// no key at all. `public`: no key is asked for, whatever other rules say.
	// Default: `require`.
	Access string `json:"access,omitempty"`

	// The scopes that the key must have, all of them. Placeholders are escaped:
	// their value is always one segment of the scope; an empty one refuses.
	Scopes []string `json:"scopes,omitempty"`

	// A bare token is not enough; the request must be signed.
	Signed bool `json:"signed,omitempty"`

	// The key must be bound to a client certificate, which the connection has
	// then, as for every key that is bound to one.
	ClientCert bool `json:"client_cert,omitempty"`

	// How the body of a signed request is checked: `buffer` keeps it in memory
	// until its digest fits; `stream` hands it on at once but for its end, and
	// breaks off if the digest does not fit; `off` leaves it unchecked, so that
	// whoever can change a request on its way can change its body. Of the rules
	// that match the strictest counts. Default: `buffer`.
	SignedBody string `json:"signed_body,omitempty"`

	// The longest body that is kept in memory, in bytes; the smallest of the
	// rules that match counts. Default: that of the handler.
	BodyLimit int64 `json:"body_limit,omitempty"`

	// The call must be durably recorded before the upstream sees it.
	Audit bool `json:"audit,omitempty"`

	// How many units of its limits a request costs, 0 to 1,000,000. Of the rules
	// that match and have a cost, the highest counts. Default: 1, if none has one.
	Cost *uint64 `json:"cost,omitempty"`

	// What kind of data the rule gives access to, for the register of
	// processing.
	Data string `json:"data,omitempty"`

	asksKey  bool // its matchers ask for the key
	matchers caddyhttp.MatcherSets
	exact    []exactPath // for each matcher set
	scopes   []scopeTemplate
}

// maxRules bounds a handler's rules, so that a set of them fits a request
// without allocation.
const maxRules = 256

// ruleSet is a set of rules by their index.
type ruleSet [maxRules / 64]uint64

func (s *ruleSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *ruleSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// meets reports whether the sets have a rule in common.
func (s *ruleSet) meets(o *ruleSet) bool {
	return s[0]&o[0]|s[1]&o[1]|s[2]&o[2]|s[3]&o[3] != 0
}

func (h *Handler) provisionRules(ctx caddy.Context) error {
	if len(h.Rules) == 0 {
		return errors.New("no rules: every request would be refused; write at least `require *`, which asks for any valid key")
	}
	if len(h.Rules) > maxRules {
		return fmt.Errorf("%d rules, at most %d are possible", len(h.Rules), maxRules)
	}
	if i := slices.Index(h.Rules, nil); i >= 0 {
		return fmt.Errorf("rule %d is null; leave it out", i+1)
	}
	if h.opensAll() {
		return errOpensAll
	}
	names := make(map[string]bool)
	for i, rule := range h.Rules {
		if rule.Name == "" {
			rule.Name = fmt.Sprintf("rule-%d", i+1)
		}
		if names[rule.Name] {
			return fmt.Errorf("two rules are named %q; give one another `name`", rule.Name)
		}
		names[rule.Name] = true
		if err := rule.provision(ctx); err != nil {
			return fmt.Errorf("rule %s: %w", rule.Name, err)
		}
		h.warnOfPlaceholders(rule)
	}
	h.provisionAudit()
	return nil
}

func (rule *Rule) provision(ctx caddy.Context) error {
	if rule.Access == "" {
		rule.Access = accessRequire
	}
	switch rule.Access {
	case accessRequire:
	case accessPublic, accessOptional:
		if len(rule.Scopes) > 0 || rule.Signed || rule.ClientCert || rule.Audit || rule.SignedBody != "" || rule.BodyLimit != 0 || rule.Cost != nil {
			return fmt.Errorf("%s takes no scopes and conditions; write `require` for those", rule.Access)
		}
	default:
		return fmt.Errorf("access %q: write %s, %s or %s", rule.Access, accessRequire, accessOptional, accessPublic)
	}
	if err := checkSignedBody(rule.SignedBody); err != nil {
		return err
	}
	if rule.Cost != nil && *rule.Cost > limit.MaxCost {
		return fmt.Errorf("cost %d: at most %d is possible", *rule.Cost, limit.MaxCost)
	}
	if rule.BodyLimit != 0 {
		if err := checkBodyLimit(rule.BodyLimit); err != nil {
			return err
		}
	}
	for _, s := range rule.Scopes {
		t, err := parseScopeTemplate(s)
		if err != nil {
			return err
		}
		rule.scopes = append(rule.scopes, t)
	}
	for _, set := range rule.MatcherSetsRaw {
		if hint := checkPaths(set); hint != "" {
			return errors.New(hint)
		}
	}
	// Before the matchers are loaded: loading lower-cases their paths.
	rule.asksKey = asksKey(rule.MatcherSetsRaw)
	rule.exact = newExactPaths(rule.MatcherSetsRaw)
	loaded, err := ctx.LoadModule(rule, "MatcherSetsRaw")
	if err != nil {
		return fmt.Errorf("loading matchers: %v", err)
	}
	return rule.matchers.FromInterface(loaded)
}

// policy sums up the rules that match a request.
type policy struct {
	public   bool // one of them exempts it
	required bool // one of them asks for a key
	granting bool // one of them, in exact case, lets a key in

	cost   uint64 // the highest of those that have one
	priced bool   // one of them has
}

// price takes the cost of a rule that matches. One that only matches because path
// matchers ignore case makes nothing cheaper.
func (p *policy) price(rule *Rule, exact bool) {
	if rule.Cost != nil && (exact || *rule.Cost > 1) {
		p.cost, p.priced = max(p.cost, *rule.Cost), true
	}
}

// total returns what the request costs.
func (p *policy) total() uint64 {
	if p.priced {
		return p.cost
	}
	return 1
}

// anonymous reports whether the request may pass without a key: optional rules
// match it, and no others.
func (p policy) anonymous() bool { return p.granting && !p.required }

// match finds the rules that match, in exact case or not. A rule that only
// matches because path matchers ignore case must be satisfied too, but it
// neither exempts nor grants: an upstream that tells /Public from /public would
// be reached by a grant for the other.
func (h *Handler) match(r *http.Request, matched *ruleSet) (policy, error) {
	var p policy
	for i, rule := range h.Rules {
		ok, exact, err := rule.match(r)
		if err != nil {
			return policy{}, err
		}
		if !ok {
			continue
		}
		switch rule.Access {
		case accessPublic:
			if exact {
				p.public = true
				matched.add(i)
			}
			continue
		case accessRequire:
			p.required = true
			p.price(rule, exact)
		}
		p.granting = p.granting || exact
		matched.add(i)
	}
	return p, nil
}

// match reports whether the rule matches, and whether it does so in exact case.
func (rule *Rule) match(r *http.Request) (ok, exact bool, err error) {
	if len(rule.matchers) == 0 {
		return true, true, nil
	}
	for i, set := range rule.matchers {
		matched, err := set.MatchWithError(r)
		if err != nil {
			return false, false, err
		}
		if matched {
			ok = true
			if rule.exact[i].match(r) {
				return true, true, nil
			}
		}
	}
	return ok, false, nil
}

// rematch evaluates the rule's matcher once more, so that placeholders which
// matchers set, such as {http.regexp.1}, have the values of this rule again:
// the matcher of another one may have overwritten them.
func (rule *Rule) rematch(r *http.Request) bool {
	ok, _, err := rule.match(r)
	return ok && err == nil
}

// authorize checks what the matching rules ask of a key that is in force.
func (h *Handler) authorize(r *http.Request, d *decision) *refusal {
	for i, rule := range h.Rules {
		if !d.rules.has(i) {
			continue
		}
		for _, template := range rule.scopes {
			if template.literal == "" && !rule.rematch(r) {
				return unresolvedScope
			}
			scope, ok := template.expand(r)
			if !ok {
				return unresolvedScope
			}
			if !d.key.Covers(scope, h.app.roles) {
				d.scope = scope
				return missingScope
			}
			if template.literal == "" {
				d.filled = append(d.filled, scope)
			}
		}
		if rule.Signed && d.signed == nil {
			return mustSign
		}
		if rule.ClientCert && !d.key.IsBoundToCert() {
			return unboundKey
		}
	}
	return nil
}

// matchFailed turns a matcher's error into a refusal: who cannot say whether a
// rule matches cannot let the request in.
func (h *Handler) matchFailed(err error) *refusal {
	var he caddyhttp.HandlerError
	if errors.As(err, &he) && he.StatusCode == http.StatusTooEarly {
		return earlyData
	}
	h.logger.Error("a rule's matcher failed", zap.String("error", scrubSecrets(err.Error())))
	return ruleFailed
}
