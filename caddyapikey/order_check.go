package caddyapikey

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// An api_key that stands behind what answers every request guards nothing, and
// nothing tells. So when the configuration starts its routes are walked, and what
// is plain is warned of: routes that always run, and handlers that always answer.
// What matchers and groups decide with each request is taken for reached.

// ahead is what surely ran before a place in a server's routes.
type ahead struct {
	takers   []*Handler // api_key handlers that take the key
	answered string     // the directive that answered every request, if one did
}

// orderWalk is a walk through the routes of one server.
type orderWalk struct {
	server *caddyhttp.Server
	site   string
	keyed  bool // an api_key handler of the site was seen already
	warn   func(message, site string, rules []string, remedy string)
	seen   int // handlers
}

// checkOrder warns of api_key handlers that are never asked, or find nothing.
func (a *App) checkOrder() {
	configured, err := a.ctx.AppIfConfigured("http")
	app, ok := configured.(*caddyhttp.App)
	if err != nil || !ok {
		return
	}
	warned := 0
	warn := func(message, site string, rules []string, remedy string) {
		if warned++; warned <= maxWalkWarnings {
			a.logger.Warn(message, zap.String("site", site), zap.Strings("rules", rules), zap.String("remedy", remedy))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		w := &orderWalk{server: app.Servers[name], site: name, warn: warn}
		w.routes(w.server.Routes, ahead{}, 0)
		if w.server.Errors != nil {
			w.keyed = true // perhaps; where the error came from is not known
			w.routes(w.server.Errors.Routes, ahead{}, 0)
		}
	}
}

// routes walks a list of routes, and returns what surely ran behind it.
func (w *orderWalk) routes(list caddyhttp.RouteList, at ahead, depth int) ahead {
	for i := range list {
		route := &list[i]
		if depth == 0 {
			if hosts := hostsOf(route); len(hosts) > 0 {
				w.site = strings.Join(hosts, ", ")
			} else {
				w.site = w.server.Name()
			}
		}
		keyed := w.keyed
		behind := w.handlers(route.Handlers, at, depth)
		if route.Terminal {
			w.keyed = keyed
		}
		if len(route.MatcherSets) == 0 && route.Group == "" {
			at = behind
		}
	}
	return at
}

func (w *orderWalk) handlers(list []caddyhttp.MiddlewareHandler, at ahead, depth int) ahead {
	for _, h := range list {
		if w.seen++; w.seen > maxWalkHandlers || depth > maxWalkDepth {
			return ahead{}
		}
		switch h := h.(type) {
		case *Handler:
			w.handler(h, at)
			w.keyed = true
			at.takers = append(slices.Clip(at.takers), h)
		case *caddyhttp.Subroute:
			behind := w.routes(h.Routes, at, depth+1)
			if h.Errors != nil {
				w.routes(h.Errors.Routes, ahead{}, depth+1)
			}
			at = behind
		case *caddyhttp.Invoke:
			if route := w.server.NamedRoutes[h.Name]; route != nil {
				if behind := w.handlers(route.Handlers, at, depth+1); len(route.MatcherSets) == 0 {
					at = behind
				}
			}
		default:
			if name := alwaysAnswers(h); name != "" && at.answered == "" {
				at.answered = name
			}
		}
	}
	return at
}

// handler warns of one handler, where it does nothing of what it says.
func (w *orderWalk) handler(h *Handler, at ahead) {
	if at.answered != "" {
		w.warn("api_key guards nothing: "+at.answered+" in front of it answers every request", w.site, h.names(),
			"put api_key in front of "+at.answered+"; directives of a site are in this order by themselves, those inside of route run as they are written")
		return
	}
	for _, first := range at.takers {
		if first.leavesNothingTo(h) {
			w.warn("api_key refuses every request: another api_key in front of it takes the key from the request ("+first.outline()+")", w.site, h.names(),
				"write all rules into one api_key; or write keep_credential into the first, and both decide")
			break
		}
	}
	var asking []string
	for _, rule := range h.Rules {
		if rule.asksKey {
			asking = append(asking, rule.Name)
		}
	}
	if len(asking) > 0 && !w.keyed {
		w.warn("a rule's matcher asks for the key before it is known, so that no key will match it", w.site, asking,
			"ask for a scope in place of it, such as `require * contacts:read`, or use the matcher api_key in directives behind api_key")
	}
}

// names returns the names of its rules.
func (h *Handler) names() []string {
	var names []string
	for _, rule := range h.Rules {
		names = append(names, rule.Name)
	}
	return names
}

// alwaysAnswers returns the name of the directive if a handler of Caddy's answers
// whatever request reaches it, "" for others.
func alwaysAnswers(h caddyhttp.MiddlewareHandler) string {
	m, ok := h.(caddy.Module)
	if !ok {
		return ""
	}
	name := m.CaddyModule().ID.Name()
	if !slices.Contains([]string{"static_response", "reverse_proxy", "file_server", "error"}, name) {
		return ""
	}
	text, err := json.Marshal(h)
	if err != nil {
		return ""
	}
	var config struct {
		StatusCode     caddyhttp.WeakString `json:"status_code"`     // of static_response: 1xx goes on
		HandleResponse []json.RawMessage    `json:"handle_response"` // of reverse_proxy: may go on
		PassThru       bool                 `json:"pass_thru"`       // of file_server
	}
	if json.Unmarshal(text, &config) != nil || len(config.HandleResponse) > 0 || config.PassThru {
		return ""
	}
	if name == "static_response" {
		status := string(config.StatusCode)
		if strings.HasPrefix(status, "1") || strings.Contains(status, "{") {
			return ""
		}
		if strings.HasPrefix(status, "3") {
			return "redir"
		}
		return "respond"
	}
	return name
}

// asksKey reports whether matchers that are not loaded yet ask for the key.
func asksKey(sets caddyhttp.RawMatcherSets) bool {
	return slices.ContainsFunc(sets, func(set caddy.ModuleMap) bool {
		return set["api_key"] != nil || bytes.Contains(set["not"], []byte(`"api_key":`))
	})
}
