package caddyapikey

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"

	"github.com/caddy-apikey/caddy-apikey/internal/redact"
)

// Modules cannot see how logs are configured. So when the configuration starts,
// an entry is sent through every logger that requests with keys are logged to.
// It carries no request but a probe, which looks at the encoder that it is
// handed to. RedactEncoder drops the entry; in every other log it stays, and
// says what is wrong with that log.
//
// The entry is an error: that is the highest level that requests are logged at,
// and a log that is limited to errors has the keys of requests that fail.

// logCheckMessage tells the entry to RedactEncoder. It is true of each log that
// shows it, also of one with filters of its own.
const logCheckMessage = "checked whether API keys stay out of this log"

// logChecks counts the checks that are under way. Without one no entry is
// dropped, whatever its message.
var logChecks atomic.Int32

// isLogCheck reports whether an entry is only there to check the log.
func isLogCheck(entry *zapcore.Entry) bool {
	return entry.Message == logCheckMessage && logChecks.Load() > 0
}

const logRemedy = "write `format redact_api_keys` in the `log` block of this log: the one in the site or, for the default log, the one in the global options at the top of the Caddyfile; where there is none, write it, with `format redact_api_keys` on a line of its own"

// httpModule names the loggers of Caddy's server.
var httpModule caddy.Module = new(caddyhttp.App)

// guardedServer is a server with api_key handlers, and what they read keys from.
type guardedServer struct {
	*caddyhttp.Server
	sources []Source
}

// guard notes which server a handler is in, if it is in one.
func (a *App) guard(ctx caddy.Context, sources []Source) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return
	}
	i := slices.IndexFunc(a.guarded, func(g *guardedServer) bool { return g.Server == server })
	if i < 0 {
		a.guarded = append(a.guarded, &guardedServer{Server: server})
		i = len(a.guarded) - 1
	}
	for _, s := range sources {
		if !slices.Contains(a.guarded[i].sources, s) {
			a.guarded[i].sources = append(a.guarded[i].sources, s)
		}
	}
}

// checkLogs warns of every logger through which keys would pass in clear.
func (a *App) checkLogs() {
	logChecks.Add(1)
	defer logChecks.Add(-1)
	loggers := a.loggers()
	for _, name := range slices.Sorted(maps.Keys(loggers)) {
		probe := &logProbe{sources: loggers[name]}
		logger := a.serverLogger.Named(name)
		if entry := logger.Check(zapcore.ErrorLevel, logCheckMessage); entry != nil {
			entry.Write(zap.Object("request", probe))
		}
		if len(probe.clear) > 0 {
			a.logger.Warn("API keys would pass through a log in clear",
				zap.String("log", logger.Name()),
				zap.Strings("keys", probe.clear),
				zap.String("remedy", logRemedy))
		}
	}
}

// loggers returns the names of the loggers below Caddy's http that requests with
// keys are logged to, and from where keys would show in them.
func (a *App) loggers() map[string][]Source {
	loggers := make(map[string][]Source)
	add := func(g *guardedServer, credentials bool, name, site string) {
		if site != "" {
			name += "." + site
		}
		for _, s := range g.sources {
			if (s.headerName() == "" || credentials || !maskedByCaddy(s.headerName())) && !slices.Contains(loggers[name], s) {
				loggers[name] = append(loggers[name], s)
			}
		}
	}
	for _, g := range a.guarded {
		if g.Logs == nil {
			add(g, false, "log.error", "")
			continue
		}
		sites := []string{g.Logs.DefaultLoggerName}
		for _, names := range g.Logs.LoggerNames {
			sites = append(sites, names...)
		}
		for _, site := range sites {
			add(g, g.Logs.ShouldLogCredentials, "log.error", site)
			add(g, g.Logs.ShouldLogCredentials, "log.access", site)
		}
	}
	return loggers
}

// maskedByCaddy reports whether Caddy logs a header only with log_credentials.
func maskedByCaddy(header string) bool {
	return header == "Authorization" || header == "Proxy-Authorization" || header == "Cookie"
}

// logProbe stands where the request stands in other entries.
type logProbe struct {
	sources []Source
	clear   []string // places of keys that some encoder does not redact
}

// MarshalLogObject implements zapcore.ObjectMarshaler. It is called by each
// encoder that the entry reaches.
func (p *logProbe) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	return enc.AddArray(redact.ProbeName, zapcore.ArrayMarshalerFunc(func(array zapcore.ArrayEncoder) error {
		if redact.Masks(array) {
			return nil // RedactEncoder, inside of another encoder
		}
		for _, s := range p.sources {
			if filters, ok := enc.(logging.FilterEncoder); ok && filtersOut(filters, s) {
				continue
			}
			array.AppendString(s.String())
			if !slices.Contains(p.clear, s.String()) {
				p.clear = append(p.clear, s.String())
			}
		}
		return nil
	}))
}

// filtersOut reports whether Caddy's filters of fields keep a key out that
// stands in a place of a request.
func filtersOut(enc logging.FilterEncoder, s Source) bool {
	const key = "k8Zr2Qx5Vb9Nc4Lm7Tw1"
	if s.Kind == SourceQuery {
		return filterHides(enc, "request>uri", zap.String("uri", "/?"+s.Name+"="+key), key)
	}
	name, value := s.headerName(), key
	if s.Kind == SourceCookie {
		value = fmt.Sprintf("%s=%s", s.Name, key)
	}
	header := http.Header{name: {value}}
	return filterHides(enc, "request>headers", zap.Object("headers", caddyhttp.LoggableHTTPHeader{Header: header, ShouldLogCredentials: true}), key) ||
		filterHides(enc, "request>headers>"+name, zap.Array(name, caddyhttp.LoggableStringArray(header[name])), key)
}

func filterHides(enc logging.FilterEncoder, path string, field zapcore.Field, key string) bool {
	filter := enc.Fields[path]
	if filter == nil {
		return false
	}
	result := zapcore.NewMapObjectEncoder()
	filter.Filter(field).AddTo(result)
	return !strings.Contains(fmt.Sprint(result.Fields), key)
}
