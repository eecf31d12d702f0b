package caddyapikey

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// An accepted key is taken from the request, so that an api_key handler behind
// another one would find none and refuse everything. Such a pair is refused when
// it is loaded, as far as it is plain that the one always runs behind the other:
// both in one list of routes, or the second deeper in a later route of the list
// that the first stands in. What matchers, groups and named routes decide with
// each request is left to it.

// checkChain refuses a handler that would find no key, because one before it in
// its routes takes it.
func (a *App) checkChain(ctx caddy.Context, h *Handler) error {
	within := ctx.Modules()
	if len(within) == 0 || within[len(within)-1] != caddy.Module(h) {
		return nil // part of another module
	}
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	for _, first := range a.handlers {
		if first.server == server && first.list != nil && slices.Contains(within, first.list) &&
			runsFirst(first.Handler, listsOf(first.list, server)) && first.leavesNothingTo(h) {
			site := ""
			if hosts := hostsBeing(server); len(hosts) > 0 {
				site = "site " + strings.Join(hosts, ", ") + ": "
			}
			return fmt.Errorf("%stwo api_key stand one behind the other, and the first (%s) takes the key from the request, so that the second (%s) would refuse every request: write all rules into one api_key; or write `keep_credential` into the first, and both decide", site, first.outline(), h.outline())
		}
	}
	return nil
}

// hostsBeing returns the host names of the site that is being provisioned; none
// if that is not known, or if it has none.
func hostsBeing(server *caddyhttp.Server) []string {
	if server == nil {
		return nil
	}
	for _, list := range listsOf(new(caddyhttp.App), server) {
		for _, route := range list {
			if len(route.HandlersRaw) > 0 {
				return hostsOf(&route)
			}
		}
	}
	return nil
}

// siteBeing names the site that is being provisioned, by its hosts or else by
// where its server listens.
func siteBeing(ctx caddy.Context) string {
	const most = 3
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	what, names := "site", hostsBeing(server)
	if len(names) == 0 && server != nil {
		what, names = "the server on", server.Listen
	}
	switch {
	case len(names) == 0:
		return "a server"
	case len(names) > most:
		return fmt.Sprintf("%s %s and %d more", what, strings.Join(names[:most], ", "), len(names)-most)
	}
	return what + " " + strings.Join(names, ", ")
}

// listOf returns the module whose list of routes a handler stands in, nil if it
// is not known.
func listOf(ctx caddy.Context, h *Handler) caddy.Module {
	within := ctx.Modules()
	if len(within) < 2 || within[len(within)-1] != caddy.Module(h) {
		return nil
	}
	return within[len(within)-2]
}

// listsOf returns the lists of routes of a module, in the order in which they are
// provisioned.
func listsOf(m caddy.Module, server *caddyhttp.Server) []caddyhttp.RouteList {
	var routes caddyhttp.RouteList
	var failed *caddyhttp.HTTPErrorConfig
	switch m := m.(type) {
	case *caddyhttp.Subroute:
		routes, failed = m.Routes, m.Errors
	case *caddyhttp.App:
		if server != nil {
			routes, failed = server.Routes, server.Errors
		}
	}
	if failed == nil {
		return []caddyhttp.RouteList{routes}
	}
	return []caddyhttp.RouteList{routes, failed.Routes}
}

// runsFirst reports whether a handler surely runs before those that are being
// provisioned, in the one of the lists that is.
func runsFirst(h *Handler, lists []caddyhttp.RouteList) bool {
	for _, list := range lists {
		// The handlers of a route are cleared from its JSON once all are provisioned.
		now := slices.IndexFunc(list, func(r caddyhttp.Route) bool { return len(r.HandlersRaw) > 0 })
		if now < 0 {
			continue
		}
		for _, route := range list[:now] {
			if slices.Contains(route.Handlers, caddyhttp.MiddlewareHandler(h)) {
				return len(route.MatcherSets) == 0 && route.Group == "" && !route.Terminal
			}
		}
		return !slices.ContainsFunc(lists[0], func(r caddyhttp.Route) bool { // which is done if it is another list
			return slices.Contains(r.Handlers, caddyhttp.MiddlewareHandler(h))
		})
	}
	return false
}

// leavesNothingTo reports whether a handler behind this one asks for keys and
// finds none: this one takes them from each place that the other reads.
func (h *Handler) leavesNothingTo(behind *Handler) bool {
	if h.KeepCredential || h.Mode != modeEnforce || !slices.ContainsFunc(behind.Rules, func(r *Rule) bool { return r.Access == accessRequire }) {
		return false
	}
	for _, s := range behind.From {
		if !slices.Contains(h.From, s) {
			return false
		}
	}
	for _, scheme := range behind.Signature.Schemes {
		if !h.Signature.accepts(scheme) {
			return false
		}
	}
	return behind.Signature.Hawk.Bewit == 0 || h.Signature.Hawk.Bewit > 0
}

// outline tells a handler from others of its site, in a message.
func (h *Handler) outline() string {
	const most = 5
	names := h.names()
	names = names[:min(len(names), most)]
	text := "rule " + strings.Join(names, ", ")
	if len(names) > 1 {
		text = "rules " + strings.Join(names, ", ")
	}
	if len(h.Rules) > most {
		text += ", …"
	}
	if h.Name != "" {
		text = h.Name + ": " + text
	}
	return text
}
