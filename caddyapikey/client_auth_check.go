package caddyapikey

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// warnOfClientCerts warns of rules that ask for a client certificate on a site
// whose clients are never asked for one, so that nobody can have it. It is called
// while the handler is provisioned, when the connection policies of its server
// still say what they match.
func (h *Handler) warnOfClientCerts(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	var rules []string
	for _, rule := range h.Rules {
		if rule.ClientCert {
			rules = append(rules, rule.Name)
		}
	}
	hosts := hostsBeing(server)
	if !ok || len(rules) == 0 || slices.ContainsFunc(server.TLSConnPolicies, func(p *caddytls.ConnectionPolicy) bool { return asksForCert(p, hosts) }) {
		return
	}
	h.logger.Warn("rules with client_cert refuse every request: no client of the site is asked for a certificate",
		zap.String("site", cmp.Or(strings.Join(hosts, ", "), siteName(h.Name, server))),
		zap.Strings("rules", rules),
		zap.String("remedy", "serve the site over HTTPS, and write `client_auth { mode request }` on lines of their own into the block of its directive tls; in JSON, client_authentication in tls_connection_policies"))
}

// asksForCert reports whether a policy may ask clients of one of the hosts for a
// certificate; of any site, if there are none.
func asksForCert(p *caddytls.ConnectionPolicy, hosts []string) bool {
	if p.ClientAuthentication == nil || !p.ClientAuthentication.Active() {
		return false
	}
	var names []string
	if len(hosts) == 0 || json.Unmarshal(p.MatchersRaw["sni"], &names) != nil {
		return true // it matches by something else, or all
	}
	return slices.ContainsFunc(names, func(name string) bool {
		return slices.ContainsFunc(hosts, func(host string) bool { return mayBeOneHost(name, host) })
	})
}

// mayBeOneHost reports whether two names, which may be wildcards or hold
// placeholders, may stand for one host.
func mayBeOneHost(a, b string) bool {
	if strings.ContainsAny(a+b, "{}") || strings.EqualFold(a, b) {
		return true
	}
	_, restA, _ := strings.Cut(a, ".")
	_, restB, _ := strings.Cut(b, ".")
	return (strings.HasPrefix(a, "*.") || strings.HasPrefix(b, "*.")) && strings.EqualFold(restA, restB)
}
