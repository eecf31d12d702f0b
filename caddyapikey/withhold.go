package caddyapikey

import (
	"context"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
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
	h.withholdSignatures(r)
}

// withholdSignatures removes signatures that name a key of ours. Nobody has used
// them up, or they may be used again, as bewits may. Each is looked for by itself:
// one that lets nobody in beside something else would without it.
func (h *Handler) withholdSignatures(r *http.Request) {
	if h.Signature.accepts(schemeHawk) {
		if slices.ContainsFunc(r.Header["Authorization"], namesOurKey) {
			new(hawkSignature).strip(r)
		}
		if h.Signature.Hawk.Bewit > 0 && holdsBewit(r) {
			new(bewitSignature).strip(r)
		}
	}
	if h.Signature.accepts(schemeMessage) && hmacsig.CarriesMessage(r.Header) {
		claims, _ := hmacsig.ParseMessage(r.Header) // what is malformed lets nobody in
		if slices.ContainsFunc(claims, func(c *hmacsig.MessageClaim) bool { return keyring.ValidKeyID(c.Params().KeyID) }) {
			new(messageSignature).strip(r)
		}
	}
}

// holdsBewit reports whether a bewit by a key of ours stands in the URL, or
// several of whomever. What else the request says does not matter: whoever sees
// the URL can ask for it in another way.
func holdsBewit(r *http.Request) bool {
	if _, count, _ := findParam(r.URL.RawQuery, bewitParam); count != 1 {
		return count > 1
	}
	claim, err := hmacsig.ParseHawkBewit(&hmacsig.Request{Method: http.MethodGet, Target: signedRequest(r).Target})
	return err == nil && keyring.ValidKeyID(claim.ID())
}

// namesOurKey reports whether a line of Authorization is a Hawk signature by a key
// of ours.
func namesOurKey(line string) bool {
	claim, err := hmacsig.ParseHawk(line)
	return err == nil && keyring.ValidKeyID(claim.ID())
}

// provisionReferer notes in which parameters something stands that lets in.
func (h *Handler) provisionReferer() {
	for _, s := range h.credentialPlaces() {
		if s.Kind == SourceQuery {
			h.inReferer = append(h.inReferer, s)
		}
	}
}

// cleanReferer removes a Referer with a key or bewit in its query. Browsers
// repeat the URL of a page with whatever the page loads: on public routes, and
// beside other credentials.
func (h *Handler) cleanReferer(r *http.Request) {
	if len(h.inReferer) == 0 || h.KeepCredential || h.Mode != modeEnforce {
		return
	}
	for _, referer := range r.Header["Referer"] {
		if namesKey(referer, h.inReferer) {
			delete(r.Header, "Referer")
			return
		}
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
