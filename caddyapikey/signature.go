package caddyapikey

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// The signature schemes.
const (
	schemeHawk    = "hawk"
	schemeMessage = "message"
)

// Limits of Signature, and its defaults.
const (
	defaultSkew     = time.Minute
	maxSkew         = 15 * time.Minute
	defaultBodySize = 1 << 20
	maxBodySize     = maxBuffered
	maxBewitLife    = 30 * 24 * time.Hour
)

// Signature says which signed requests are accepted. A signed request carries
// no secret, covers what is done, and is good for one use.
type Signature struct {
	// `hawk` (Hawk 1.1) and `message` (HTTP Message Signatures, RFC 9421).
	// Default: both, or `message` alone if keys are read from the whole header
	// Authorization. An empty list accepts none.
	Schemes []string `json:"schemes,omitzero"`

	// How far a signature's time may be from now, either way. Default: 60s.
	Skew caddy.Duration `json:"skew,omitempty"`

	// The names under which clients call this site, `host` or `host:port`. A
	// request that was signed for another one is refused. Default: whatever the
	// request names, which is enough where Caddy serves only its own names.
	Authorities []string `json:"authorities,omitempty"`

	// Header fields that a message signature must cover beside the method, the
	// URL and the body.
	Cover []string `json:"cover,omitempty"`

	// How many bytes of a signed body are kept in memory until its digest is
	// checked; a longer body is refused with 413. Default: 1 MiB.
	BodyLimit int64 `json:"body_limit,omitempty"`

	// Options of Hawk.
	Hawk *Hawk `json:"hawk,omitempty"`

	wantedBare, wantedBody string // values of Accept-Signature
}

// Hawk has options of the Hawk scheme.
type Hawk struct {
	// What the attribute `ext` must hold: `org`, the key's org. Default: anything.
	Ext string `json:"ext,omitempty"`

	// The longest life of a bewit, a signature within a URL that can be used any
	// number of times until it ends. Default: 0, none is accepted.
	Bewit caddy.Duration `json:"bewit,omitempty"`

	// Whether answers are signed, too: `off`, `bare` (without the body) or `hash`
	// (with it; the answer is held back until it is whole). Default: `off`.
	ServerAuthorization string `json:"server_authorization,omitempty"`

	// Accept Hawk with SHA-1, for clients that can do no better. Default: no.
	SHA1 bool `json:"sha1,omitempty"`
}

// Values of Hawk.Ext and Hawk.ServerAuthorization.
const (
	hawkExtOrg     = "org"
	serverAuthOff  = "off"
	serverAuthBare = "bare"
	serverAuthHash = "hash"
)

// provision puts the defaults in.
func (s *Signature) provision() {
	if s.Skew == 0 {
		s.Skew = caddy.Duration(defaultSkew)
	}
	if s.BodyLimit == 0 {
		s.BodyLimit = defaultBodySize
	}
	for i := range s.Authorities {
		s.Authorities[i] = strings.ToLower(s.Authorities[i])
	}
	for i := range s.Cover {
		s.Cover[i] = strings.ToLower(s.Cover[i])
	}
	s.wantedBare = s.policy().AcceptSignature(false)
	s.wantedBody = s.policy().AcceptSignature(true)
	if s.Hawk == nil {
		s.Hawk = new(Hawk)
	}
	if s.Hawk.ServerAuthorization == "" {
		s.Hawk.ServerAuthorization = serverAuthOff
	}
}

// provisionSignature sets up what is accepted.
func (h *Handler) provisionSignature() error {
	h.Signature = h.signature()
	if err := h.Signature.check(); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	h.Signature.provision()
	if len(h.Signature.Schemes) > 0 {
		h.nonces = h.app.nonces(time.Duration(h.Signature.Skew))
	}
	return nil
}

// signature returns a copy of the setting that says which schemes are accepted. A
// site that reads keys from the whole Authorization field cannot tell them from
// Hawk.
func (h *Handler) signature() *Signature {
	s := new(Signature)
	if h.Signature != nil {
		*s = *h.Signature
	}
	switch {
	case s.Schemes != nil:
	case h.readsWholeAuthorization():
		s.Schemes = []string{schemeMessage}
	default:
		s.Schemes = []string{schemeHawk, schemeMessage}
	}
	return s
}

// wanted returns the value of Accept-Signature for a request with a body or
// without.
func (s *Signature) wanted(body bool) string {
	if body {
		return s.wantedBody
	}
	return s.wantedBare
}

// names reports whether a request was made under one of the authorities.
func (s *Signature) names(r *hmacsig.Request) bool {
	return slices.Contains(s.Authorities, strings.ToLower(r.Authority))
}

// accepts reports whether a scheme is accepted.
func (s *Signature) accepts(scheme string) bool { return slices.Contains(s.Schemes, scheme) }
