package caddyapikey

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// sitedHandler is a handler of the configuration and the server it stands in,
// nil if it is not known.
type sitedHandler struct {
	*Handler
	server *caddyhttp.Server
	list   caddy.Module // in whose routes it stands, nil if that is not known
}

// addHandler notes a handler, so that its policy can be told.
func (a *App) addHandler(ctx caddy.Context, h *Handler) error {
	if err := a.checkChain(ctx, h); err != nil {
		return err
	}
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	a.handlers = append(a.handlers, sitedHandler{h, server, listOf(ctx, h)})
	return nil
}

// PolicyRules returns the rules of all handlers of the configuration.
func (a *App) PolicyRules() []usage.Rule {
	var rules []usage.Rule
	for _, h := range a.handlers {
		site := siteName(h.Name, h.server)
		for _, rule := range h.Rules {
			r := usage.Rule{Site: site, Name: rule.Name, Access: rule.Access, Signed: rule.Signed, Audit: rule.Audit, Data: rule.Data}
			for _, t := range rule.scopes {
				if t.literal != "" {
					r.Scopes = append(r.Scopes, t.literal)
				} else {
					r.Templates = append(r.Templates, t.pattern())
				}
			}
			rules = append(rules, r)
		}
	}
	return rules
}

// RoleGrants returns the roles of the configuration.
func (a *App) RoleGrants() keyring.Roles { return a.roles }
