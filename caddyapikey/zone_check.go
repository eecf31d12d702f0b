package caddyapikey

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
)

// A zone of caddy-ratelimit that is keyed by a placeholder without a value has
// one limit for everybody, and nothing tells. So when the configuration starts,
// its routes are walked in the order in which they run, and each such zone is
// warned of. That module may not be in this binary: its configuration is read as
// JSON.

// limiterID is the handler of caddy-ratelimit.
const limiterID = "http.handlers.rate_limit"

// Bounds of the walk. Named routes can invoke each other.
const (
	maxWalkDepth    = 64
	maxWalkHandlers = 100_000
	maxWalkWarnings = 100
)

// keyPlaceholder is a placeholder of ours.
var keyPlaceholder = regexp.MustCompile(`\{http\.(?:api_key\.([^{}]*)|auth\.user\.id)\}`)

// placed is what is known of the caller at a place in a server's routes.
type placed struct {
	key    bool // an api_key handler, or our authentication provider, ran
	user   bool // an authentication handler ran
	nobody bool // that api_key handler also lets requests without a key pass
}

func (p placed) or(q placed) placed {
	return placed{p.key || q.key, p.user || q.user, p.nobody || q.nobody}
}

// zoneWalk is a walk through the routes of one server.
type zoneWalk struct {
	app    *App
	server *caddyhttp.Server
	site   string
	keyed  bool // there is an api_key handler on the site
	warn   func(message, site, zone, key, remedy string)
	all    bool // look behind terminal routes, too
	seen   int  // handlers
}

// zonesAskedFor notes that a zone's `match` asks for the key: the matchers of a
// handler cannot be seen any more once it is provisioned.
func (a *App) zonesAskedFor(ctx caddy.Context) {
	for _, m := range ctx.Modules() {
		if m.CaddyModule().ID == limiterID {
			a.askingLimiters = append(a.askingLimiters, m)
		}
	}
}

// checkZones warns of rate limit zones that ask for a key where none is known.
func (a *App) checkZones() {
	configured, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return
	}
	app, ok := configured.(*caddyhttp.App)
	if !ok {
		return
	}
	warned := 0
	warn := func(message, site, zone, key, remedy string) {
		if warned++; warned <= maxWalkWarnings {
			a.logger.Warn(message, zap.String("site", site), zap.String("zone", zone), zap.String("key", key), zap.String("remedy", remedy))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		w := &zoneWalk{app: a, server: app.Servers[name], warn: warn}
		w.sites(w.server.Routes, placed{})
		if w.server.Errors != nil {
			// Where the error came from is not known, so neither is who was known then.
			keyed := w.hasKey(w.server.Routes)
			w.sites(w.server.Errors.Routes, placed{keyed, keyed, false})
		}
	}
	if warned > maxWalkWarnings {
		a.logger.Warn("more rate limit zones ask for an API key where none is known", zap.Int("more", warned-maxWalkWarnings))
	}
}

// sites walks the routes of a server. A Caddyfile makes one route of each site,
// with its host names.
func (w *zoneWalk) sites(list caddyhttp.RouteList, at placed) {
	shared := w.hasKey(list)
	w.each(list, at, func(route *caddyhttp.Route, at placed) placed {
		w.site, w.keyed = w.server.Name(), shared
		if hosts := hostsOf(route); len(hosts) > 0 {
			w.site = strings.Join(hosts, ", ")
		}
		if route.Terminal {
			w.keyed = w.hasKey(caddyhttp.RouteList{*route})
		}
		return w.handlers(route.Handlers, at, 0)
	})
}

// hostsOf returns the host names that a route matches, nil for all.
func hostsOf(route *caddyhttp.Route) []string {
	for _, set := range route.MatcherSets {
		for _, m := range set {
			if hosts, ok := m.(*caddyhttp.MatchHost); ok {
				return *hosts
			}
		}
	}
	return nil
}

// each calls visit with every route, in order, and what is known when it is
// reached. What a route adds is not known to others of its group, only one of
// which runs, nor behind it if it is terminal. It returns what may be known
// behind the list.
func (w *zoneWalk) each(list caddyhttp.RouteList, at placed, visit func(*caddyhttp.Route, placed) placed) placed {
	groups := make(map[string]placed)
	for i := range list {
		route := &list[i]
		here := at
		for group, added := range groups {
			if group != route.Group {
				here = here.or(added)
			}
		}
		behind := visit(route, here)
		switch {
		case route.Terminal && !w.all:
		case route.Group != "":
			groups[route.Group] = groups[route.Group].or(behind)
		default:
			at = at.or(behind)
		}
	}
	for _, added := range groups {
		at = at.or(added)
	}
	return at
}

// routes walks a list of routes, and returns what may be known behind it.
func (w *zoneWalk) routes(list caddyhttp.RouteList, at placed, depth int) placed {
	return w.each(list, at, func(route *caddyhttp.Route, at placed) placed { return w.handlers(route.Handlers, at, depth) })
}

func (w *zoneWalk) handlers(list []caddyhttp.MiddlewareHandler, at placed, depth int) placed {
	for _, h := range list {
		if w.seen++; w.seen > maxWalkHandlers || depth > maxWalkDepth {
			return placed{true, true, false} // no warning where the walk ends
		}
		switch h := h.(type) {
		case *Handler:
			at.key = true
			at.nobody = at.nobody || h.letsNobodyPass()
		case *caddyauth.Authentication:
			at.user = true
			_, ours := h.Providers["api_key"]
			at.key = at.key || ours
		case *caddyhttp.Subroute:
			behind := w.routes(h.Routes, at, depth+1)
			if h.Errors != nil {
				w.routes(h.Errors.Routes, behind, depth+1)
			}
			at = behind
		case *caddyhttp.Invoke:
			if route := w.server.NamedRoutes[h.Name]; route != nil {
				at = w.handlers(route.Handlers, at, depth+1)
			}
		default:
			if m, ok := h.(caddy.Module); ok && m.CaddyModule().ID == limiterID {
				w.limiter(m, at)
			}
		}
	}
	return at
}

// letsNobodyPass reports whether requests without a key may pass.
func (h *Handler) letsNobodyPass() bool {
	return h.Mode != modeEnforce || slices.ContainsFunc(h.Rules, func(r *Rule) bool { return r.Access != accessRequire })
}

// hasKey reports whether routes have a handler that makes a key known.
func (w *zoneWalk) hasKey(list caddyhttp.RouteList) bool {
	silent := &zoneWalk{app: w.app, server: w.server, all: true, warn: func(_, _, _, _, _ string) {}}
	return silent.routes(list, placed{}, 0).key
}

// limiter warns of the zones of one handler.
func (w *zoneWalk) limiter(limiter caddy.Module, at placed) {
	text, err := json.Marshal(limiter)
	if err != nil {
		return
	}
	var config struct {
		Zones map[string]struct {
			Key string `json:"key"`
		} `json:"rate_limits"`
	}
	if json.Unmarshal(text, &config) != nil {
		return
	}
	names := slices.Sorted(maps.Keys(config.Zones))
	if !at.key && slices.Contains(w.app.askingLimiters, limiter) {
		w.warn("a rate limit zone never applies: its match asks for the API key before it is known", w.site, strings.Join(names, ", "), "", w.remedy())
	}
	for _, name := range names {
		w.zone(name, config.Zones[name].Key, at)
	}
}

func (w *zoneWalk) zone(name, key string, at placed) {
	warn := func(message, remedy string) { w.warn(message, w.site, name, fmt.Sprintf("%.200s", key), remedy) }
	for _, m := range keyPlaceholder.FindAllStringSubmatch(key, -1) {
		field := m[1]
		isUser := m[0] == "{http.auth.user.id}"
		switch {
		case !isUser && !isPlaceholder(field):
			warn("a rate limit zone has one limit for everybody: there is no placeholder "+fmt.Sprintf("%.100s", m[0]), "write {http.api_key.caller}, {http.api_key.org_or_caller} or another placeholder of api_key")
		case isUser && (at.user || at.key || !w.keyed): // or it is not about keys
		case !at.key:
			warn("a rate limit zone has one limit for everybody: it is keyed by the API key before that is known", w.remedy())
		}
	}
	// Beside other placeholders an empty one does no harm.
	if at.key && at.nobody && !strings.Contains(keyPlaceholder.ReplaceAllStringFunc(key, emptyForNobody), "{") && keyPlaceholder.MatchString(key) {
		warn("requests that pass without a key share one limit, unless match keeps them out of the zone",
			"write {http.api_key.caller} or {http.api_key.org_or_caller} as its key, which tell them apart by address")
	}
}

// emptyForNobody keeps of the placeholders those that are never empty.
func emptyForNobody(placeholder string) string {
	switch placeholder {
	case "{http.api_key.caller}", "{http.api_key.org_or_caller}":
		return placeholder
	}
	return ""
}

// isPlaceholder reports whether {http.api_key.name} exists.
func isPlaceholder(name string) bool {
	return name == "caller" || name == "org_or_caller" || isField(name)
}

func (w *zoneWalk) remedy() string {
	if w.keyed {
		return "put api_key in front of rate_limit; directives of a site are in this order by themselves, those inside of route run as they are written"
	}
	return "this site has no api_key here: add it, or key the zone by {client_ip}"
}
