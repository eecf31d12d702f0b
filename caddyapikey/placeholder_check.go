package caddyapikey

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A placeholder that nothing gives a value makes its rule refuse every request.
// Other handlers and matchers may define placeholders of almost any name. So only
// those are refused when they are loaded that stand where Caddy's server and this
// module define all there are; what merely looks wrong is warned of.

// checkPlaceholder refuses a placeholder that there is not.
func checkPlaceholder(name string) error {
	if strings.HasPrefix(name, "http.request.") && !ofRequests(name) {
		return fmt.Errorf("there is no placeholder {%s}, and every request would be refused: write one that Caddy has, such as {http.request.uri.path.2} or {http.request.header.X-Team}; parts of the path are counted from 0", name)
	}
	if field, ours := strings.CutPrefix(name, "http.api_key."); ours && !isPlaceholder(field) {
		return fmt.Errorf("there is no placeholder {%s}, and every request would be refused", name)
	}
	return nil
}

// warnOfPlaceholders warns of those that probably have no value.
func (h *Handler) warnOfPlaceholders(rule *Rule) {
	for _, template := range rule.scopes {
		for _, part := range template.parts {
			if !part.placeholder {
				continue
			}
			if remedy := placeholderRemedy(part.text); remedy != "" {
				h.logger.Warn("a rule refuses every request while its placeholder has no value",
					zap.String("rule", rule.Name), zap.String("scope", template.pattern()), zap.String("remedy", remedy))
			}
		}
	}
}

// placeholderRemedy says what to do about a placeholder that probably has no
// value, "" if there is no reason to doubt it.
func placeholderRemedy(name string) string {
	space, rest, _ := strings.Cut(name, ".")
	switch space {
	case "env":
		if os.Getenv(rest) == "" {
			return "set the environment variable " + rest + " for Caddy"
		}
		return ""
	case "file":
		if text, err := os.ReadFile(rest); err != nil || len(strings.TrimSpace(string(text))) == 0 {
			return "make " + rest + " a file that Caddy can read, with a value in it"
		}
		return ""
	case "http":
		label, tail, _ := strings.Cut(rest, ".")
		switch {
		case label == "api_key":
			return "{" + name + "} is known behind api_key, not in its own rules: let the scope depend on the request, such as orgs/{http.request.uri.path.1}:use, and give each key its own"
		case slices.Contains([]string{"request", "regexp", "matchers", "vars", "auth", "error", "intercept", "reverse_proxy", "url_pattern"}, label):
			return ""
		}
		for _, meant := range []string{"http.request." + rest, "http.request." + tail} {
			if strings.Contains(tail, ".") && ofRequests(meant) {
				return "write {" + meant + "}, if that is meant"
			}
		}
		return ""
	}
	// What is short for one in the Caddyfile is not in JSON.
	for _, meant := range []string{"http." + name, "http.request." + name, "http.request.uri." + name, "http.request.host." + name} {
		if ofRequests(meant) {
			return "write {" + meant + "}, if that is meant"
		}
	}
	return ""
}

// ofRequests asks Caddy whether its server gives each request a placeholder.
func ofRequests(name string) (known bool) {
	defer func() {
		if recover() != nil { // it wants what a request of a real connection has
			known = true
		}
	}()
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}
	ctx := context.WithValue(context.Background(), http.LocalAddrContextKey, net.Addr(addr))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/", nil)
	if err != nil {
		return true
	}
	r.RemoteAddr = addr.String()
	repl := caddy.NewEmptyReplacer()
	caddyhttp.PrepareRequest(r, repl, nil, new(caddyhttp.Server))
	_, known = repl.Get(name)
	return known
}
