package caddyapikey

import (
	"context"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// withhold removes keys of ours from a request that needs none, so that they do
// not travel on. What is not ours is the upstream's and stays; but two in one
// place are nobody's, and go.
func (h *Handler) withhold(r *http.Request) {
	kr := h.app.Keyring()
	if kr == nil || h.KeepCredential || h.Mode != modeEnforce {
		return
	}
	for i := range h.From {
		f, result := extract(r, h.From[i:i+1])
		switch {
		case result == extractSeveral || result == extractAmbiguous:
			f.source = &h.From[i] // without a token: the Referer goes, too
		case result != extractOne || !kr.Knows(f.token, h.app.Prefix):
			continue
		}
		strip(r, f, h.From)
		stripOriginal(r, f)
	}
}

// stripOriginal removes a key in the query also from the request as it came in,
// which placeholders show and Caddy goes back to when it runs error routes.
func stripOriginal(r *http.Request, f found) {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || f.source.Kind != SourceQuery || original.URL == nil {
		return
	}
	stripQuery(&original, f.source.Name)
	// In place: the placeholders look at this very request.
	*r = *r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, original))
}
