package caddyapikey

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func init() {
	caddy.RegisterModule(Matcher{})
}

// Matcher matches requests by the API key that an api_key handler in front let
// in. Without one it matches nothing. A request must match each field that is
// set, by any of the field's values.
type Matcher struct {
	// Tiers of the key, or of its org.
	Tier []string `json:"tier,omitempty"`
	// Orgs of the key.
	Org []string `json:"org,omitempty"`
	// Scopes that the key must be granted, directly or by a role.
	Scope []string `json:"scope,omitempty"`
	// Tags of the key.
	Tag []string `json:"tag,omitempty"`

	app *App
}

// CaddyModule returns the Caddy module information.
func (Matcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.api_key",
		New: func() caddy.Module { return new(Matcher) },
	}
}

// Provision finds the app, for its roles.
func (m *Matcher) Provision(ctx caddy.Context) error {
	if err := m.check(); err != nil {
		return err
	}
	app, err := ctx.App("api_keys")
	if err != nil {
		return err
	}
	m.app = app.(*App)
	for _, tier := range m.Tier {
		if !m.app.HasTier(tier) {
			ctx.Logger().Warn("the matcher api_key names a tier that is not defined, so keys cannot be given it", zap.String("tier", tier),
				zap.String("remedy", "write it as it is defined in `api_keys { tier … }` in the global options, or define it there"))
		}
	}
	m.app.zonesAskedFor(ctx)
	return nil
}

// check refuses a matcher that cannot match: values are compared as they stand,
// without wildcards and placeholders.
func (m *Matcher) check() error {
	if len(m.Tier)+len(m.Org)+len(m.Scope)+len(m.Tag) == 0 {
		return errors.New("api_key matcher: write at least one of tier, org, scope and tag, such as `api_key tier gold`")
	}
	for _, field := range []struct {
		name   string
		values []string
	}{{"tier", m.Tier}, {"org", m.Org}, {"tag", m.Tag}} {
		for _, value := range field.values {
			if err := keyring.ValidateLabel(field.name, value); err != nil {
				return fmt.Errorf("api_key matcher: no key has %s %q: %w", field.name, value, err)
			}
		}
	}
	for _, scope := range m.Scope {
		if err := keyring.ValidateScope(scope); err != nil {
			return fmt.Errorf("api_key matcher: %w", err)
		}
	}
	return nil
}

// UnmarshalCaddyfile sets up the matcher. Syntax:
//
//	api_key <tier|org|scope|tag> <values...>
//	api_key {
//	    <tier|org|scope|tag> <values...>
//	}
func (m *Matcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		if d.NextArg() {
			if err := m.unmarshalField(d); err != nil {
				return err
			}
		}
		for nesting := d.Nesting(); d.NextBlock(nesting); {
			if err := m.unmarshalField(d); err != nil {
				return err
			}
		}
	}
	if err := m.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (m *Matcher) unmarshalField(d *caddyfile.Dispenser) error {
	field, ok := map[string]*[]string{"tier": &m.Tier, "org": &m.Org, "scope": &m.Scope, "tag": &m.Tag}[d.Val()]
	if !ok {
		switch d.Val() {
		case "role", "roles":
			return d.Err("a role is a set of scopes: write `scope` and one that the role has, such as `api_key scope contacts:read`")
		case "id", "name", "owner", "credential":
			return d.Errf("the matcher does not know %s: write `vars {http.api_key.%[1]s} <value...>` in place of it", d.Val())
		}
		return d.Errf("unknown field %q: write tier, org, scope or tag", d.Val())
	}
	name := d.Val()
	values := d.RemainingArgs()
	if len(values) == 0 {
		return d.Errf("%s: write at least one value, such as `api_key tier gold`", name)
	}
	for _, value := range values {
		if value == "tier" || value == "org" || value == "scope" || value == "tag" {
			return d.Errf("%s: write each field on a line of its own, in the block of api_key", value)
		}
	}
	*field = append(*field, values...)
	return nil
}

// Match reports whether the request's key has what m asks for.
func (m Matcher) Match(r *http.Request) bool {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return false
	}
	value, _ := repl.Get(identityKey)
	id, ok := value.(*identity)
	if !ok || id.key.IsZero() {
		return false
	}
	return oneHolds(m.Tier, func(v string) bool { return v == id.key.Tier() }) &&
		oneHolds(m.Org, func(v string) bool { return v == id.key.Org() }) &&
		oneHolds(m.Scope, func(v string) bool { return id.key.Covers(v, m.app.roles) }) &&
		oneHolds(m.Tag, id.key.HasTag)
}

// MatchWithError is Match; it never fails.
func (m Matcher) MatchWithError(r *http.Request) (bool, error) { return m.Match(r), nil }

// oneHolds reports whether a field is not set, or one of its values holds.
func oneHolds(values []string, holds func(string) bool) bool {
	return len(values) == 0 || slices.ContainsFunc(values, holds)
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*Matcher)(nil)
	_ caddyfile.Unmarshaler             = (*Matcher)(nil)
	_ caddyhttp.RequestMatcherWithError = (*Matcher)(nil)
)
