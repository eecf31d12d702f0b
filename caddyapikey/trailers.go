package caddyapikey

import (
	"io"
	"net/http"
)

// guardTrailers reports whether the trailers that a request announces are the client's to send. Trailers
// come after the body, too late to be removed from the header; and once a request has announced one,
// net/http takes, and Caddy forwards, whatever else follows the body. Credentials have no place in them
// (RFC 9110 section 6.5.1): nobody would look at one, and it would travel on.
func (h *Handler) guardTrailers(r *http.Request) bool {
	if len(r.Trailer) == 0 {
		return true
	}
	if h.owned.ownsAny(r.Trailer) || h.keyed.ownsAny(r.Trailer) || overrideHeaders.ownsAny(r.Trailer) {
		return false
	}
	r.Body = &guardedBody{r.Body, r.Trailer, h}
	return true
}

// guardedBody removes the trailers that only this server may set, when they have arrived and before
// anybody has seen them.
type guardedBody struct {
	io.ReadCloser
	trailer http.Header // that of the request, which net/http fills at the end of the body
	h       *Handler
}

func (b *guardedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.h.owned.remove(b.trailer)
		b.h.keyed.remove(b.trailer)
		overrideHeaders.remove(b.trailer)
	}
	return n, err
}
