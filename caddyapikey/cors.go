package caddyapikey

import (
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// preflightMaxAge is how long browsers may remember a preflight answer, in
// seconds.
const preflightMaxAge = "600"

// isPreflight reports whether a request is a CORS preflight: the one kind of
// request that a browser sends without the page's headers. With a method
// override it is something else in disguise.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		r.Header.Get("Origin") != "" &&
		r.Header.Get("Access-Control-Request-Method") != "" &&
		r.Header["X-Http-Method-Override"] == nil &&
		r.Header["X-Http-Method"] == nil &&
		r.Header["X-Method-Override"] == nil
}

// answerPreflight answers for the upstream if any key lists the page's origin:
// the page may try. Which key it then uses, and for what, is decided when it
// does. It reports whether it answered; any other preflight is a request like
// all others, which passes where the route is public.
func (h *Handler) answerPreflight(w http.ResponseWriter, r *http.Request) bool {
	kr := h.app.Keyring()
	origin, method := r.Header["Origin"], r.Header["Access-Control-Request-Method"]
	if kr == nil || len(origin) != 1 || len(method) != 1 || !httpguts.ValidHeaderFieldName(method[0]) || !kr.HasOrigin(origin[0]) {
		return false
	}
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", origin[0])
	header.Set("Access-Control-Allow-Methods", method[0])
	if names := requestedHeaders(r); names != "" {
		header.Set("Access-Control-Allow-Headers", names)
	}
	header.Set("Access-Control-Max-Age", preflightMaxAge)
	header.Add("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// requestedHeaders returns the header names that a preflight asks for, as far
// as they are names.
func requestedHeaders(r *http.Request) string {
	var names []string
	for name := range strings.SplitSeq(r.Header.Get("Access-Control-Request-Headers"), ",") {
		name = strings.TrimSpace(name)
		if httpguts.ValidHeaderFieldName(name) && len(names) < 64 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// allowOrigin lets the page that sent the request read the answer, refusals
// too, if any key lists its origin.
func allowOrigin(w http.ResponseWriter, r *http.Request, kr *keyring.Keyring) http.ResponseWriter {
	origin := r.Header.Get("Origin")
	if origin == "" || kr == nil || !kr.HasOrigin(origin) {
		return w
	}
	return &corsWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		origin:                origin,
	}
}

// corsWriter puts its own Access-Control-Allow-Origin in place of whatever the
// upstream sent: two of them and the browser accepts neither.
type corsWriter struct {
	*caddyhttp.ResponseWriterWrapper
	origin string
	wrote  bool
}

func (w *corsWriter) WriteHeader(status int) {
	// Informational responses come before the real one.
	if !w.wrote && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		w.wrote = true
		w.Header().Set("Access-Control-Allow-Origin", w.origin)
		w.Header().Add("Vary", "Origin")
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

func (w *corsWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriterWrapper.Write(p)
}

func (w *corsWriter) ReadFrom(r io.Reader) (int64, error) {
	w.begin()
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError sends the header if nothing else did before.
func (w *corsWriter) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriterWrapper.ResponseWriter).Flush()
}

func (w *corsWriter) begin() {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
}

// Interface guards
var (
	_ http.ResponseWriter = (*corsWriter)(nil)
	_ io.ReaderFrom       = (*corsWriter)(nil)
)
