package hmacsig

import "net/http"

// Request is a request as its client signed it. Whoever fills it from a server's
// request takes what arrived, not what handlers made of it.
type Request struct {
	Method string // as received

	// The scheme that the client used, "http" or "https". Behind a proxy that
	// ends TLS it is not the scheme of the last connection.
	Scheme string

	// The Host field or :authority as received: a host with or without a port.
	Authority string

	// The request-target as received, undecoded: a path with or without a
	// query, or the absolute form.
	Target string

	Header        http.Header
	ContentLength int64 // of the body in bytes, -1 if unknown
}
