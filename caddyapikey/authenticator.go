package caddyapikey

import (
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
)

func init() {
	caddy.RegisterModule(Authenticator{})
}

// Authenticator lets Caddy's own `authentication` handler accept API keys,
// beside its other providers. It asks for a key in force, its address list, its
// origins and, if set, scopes; that handler answers 401 to everything else. For
// scopes per route, exact statuses and strict request checks use the api_key
// handler.
type Authenticator struct {
	// Where a key may stand in a request. Default: the Bearer scheme and the
	// header X-API-Key.
	From []Source `json:"from,omitempty"`

	// Scopes that the key must have, all of them.
	Scopes []string `json:"scopes,omitempty"`

	handler Handler
}

// CaddyModule returns the Caddy module information.
func (Authenticator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.api_key",
		New: func() caddy.Module { return new(Authenticator) },
	}
}

// Provision sets up the one rule that the provider stands for.
func (a *Authenticator) Provision(ctx caddy.Context) error {
	a.handler.From = a.From
	a.handler.Signature = &Signature{Schemes: []string{}} // none: a provider cannot say why it refuses, which signing clients have to know
	a.handler.Rules = []*Rule{{Name: "authentication", Scopes: a.Scopes}}
	return a.handler.Provision(ctx)
}

// Authenticate reports whether the request carries a key that may pass, and
// which. The key is removed from the request. It never returns an error: who
// cannot decide does not let in.
func (a *Authenticator) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	if !a.handler.guardTrailers(r) {
		return caddyauth.User{}, false, nil
	}
	a.handler.strict.scrub(r.Header)
	var d decision
	if !a.handler.denies(r, &d) {
		a.handler.decide(r, &d)
		if d.why == nil {
			d.why = a.handler.spend(r, &d)
		}
		if d.why == nil && d.waited {
			d.why = a.handler.afterWaiting(r, &d)
		}
		if d.why != nil {
			a.handler.giveBack(&d)
		}
	}
	showLimits(w.Header(), &d)
	a.handler.tell(r, &d, true)
	var used account // without the answer, which a provider does not see
	a.handler.openAccount(&used, r, &d)
	used.close(&d, false, nil)
	if d.why != nil {
		if seconds := d.retryAfter(); seconds > 0 {
			w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
		}
		doubtCredential(r, d.why)
		return caddyauth.User{}, false, nil
	}
	strip(r, d.found, a.handler.From)
	stripOriginal(r, d.found)
	a.handler.protectCaches(w.Header(), a.handler.introduce(r, &identity{key: d.key, request: used.call.RequestID}), &d)
	return caddyauth.User{ID: d.key.ID(), Metadata: map[string]string{
		"name":  d.key.Name(),
		"org":   d.key.Org(),
		"tier":  d.key.Tier(),
		"owner": d.key.Owner(),
	}}, true, nil
}

// Interface guards
var (
	_ caddy.Provisioner       = (*Authenticator)(nil)
	_ caddyauth.Authenticator = (*Authenticator)(nil)
)
