package caddyapikey

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

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
	// Default: both. An empty list accepts none.
	Schemes []string `json:"schemes"`

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

	wantedBare, wantedBody []string // values of Accept-Signature; never changed
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

// newSignature returns what a handler without a setting of its own accepts.
func newSignature() *Signature {
	return &Signature{Schemes: []string{schemeHawk, schemeMessage}}
}

// provision checks the setting and puts the defaults in.
func (s *Signature) provision() error {
	for _, scheme := range s.Schemes {
		if err := checkScheme(scheme); err != nil {
			return err
		}
	}
	if s.Skew == 0 {
		s.Skew = caddy.Duration(defaultSkew)
	}
	if skew := time.Duration(s.Skew); skew < time.Second || skew > maxSkew {
		return fmt.Errorf("skew %s: write 1s to %s; a signature can be repeated within it only because its nonce is remembered that long", skew, maxSkew)
	}
	if s.BodyLimit == 0 {
		s.BodyLimit = defaultBodySize
	}
	if err := checkBodyLimit(s.BodyLimit); err != nil {
		return err
	}
	for i, a := range s.Authorities {
		if a == "" || strings.ContainsAny(a, "/@ \t{}") {
			return fmt.Errorf("authority %q: write a host or host:port, without a scheme", a)
		}
		s.Authorities[i] = strings.ToLower(a)
	}
	for i, field := range s.Cover {
		if !httpguts.ValidHeaderFieldName(field) {
			return fmt.Errorf("cover %q: write the names of header fields; method, URL and body are always covered", field)
		}
		s.Cover[i] = strings.ToLower(field)
	}
	s.wantedBare = []string{s.policy().AcceptSignature(false)}
	s.wantedBody = []string{s.policy().AcceptSignature(true)}
	if s.Hawk == nil {
		s.Hawk = new(Hawk)
	}
	return s.Hawk.provision()
}

func (h *Hawk) provision() error {
	if h.Ext != "" && h.Ext != hawkExtOrg {
		return fmt.Errorf("hawk ext %q: write org", h.Ext)
	}
	if life := time.Duration(h.Bewit); life < 0 || life > maxBewitLife {
		return fmt.Errorf("hawk bewit %s: write a longest life of up to %s", life, maxBewitLife)
	}
	if h.ServerAuthorization == "" {
		h.ServerAuthorization = serverAuthOff
	}
	if !slices.Contains([]string{serverAuthOff, serverAuthBare, serverAuthHash}, h.ServerAuthorization) {
		return fmt.Errorf("hawk server_authorization %q: write off, bare or hash", h.ServerAuthorization)
	}
	return nil
}

func checkScheme(scheme string) error {
	if scheme != schemeHawk && scheme != schemeMessage {
		return fmt.Errorf("signature %q: write hawk or message", scheme)
	}
	return nil
}

func checkBodyLimit(n int64) error {
	if n < 1 || n > maxBodySize {
		return errors.New("body_limit: write a size from 1B to 512MiB, such as 10MiB")
	}
	return nil
}

// provisionSignature sets up what is accepted. A site that reads keys from the
// whole Authorization field cannot tell them from Hawk.
func (h *Handler) provisionSignature() error {
	whole := slices.ContainsFunc(h.From, func(s Source) bool {
		return s.Kind == SourceHeader && s.headerName() == "Authorization"
	})
	if h.Signature == nil {
		h.Signature = newSignature()
		if whole {
			h.Signature.Schemes = []string{schemeMessage}
		}
	}
	if err := h.Signature.provision(); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	if whole && h.Signature.accepts(schemeHawk) {
		return errors.New("signature hawk: keys are read from the whole header Authorization, where Hawk stands, too; use another header for keys, or leave hawk out")
	}
	if h.Signature.Hawk.Bewit > 0 {
		for _, s := range h.From {
			if s.Kind == SourceQuery && s.Name == bewitParam {
				return errors.New("from query bewit: bewits stand there; choose another parameter for keys")
			}
		}
	}
	if len(h.Signature.Schemes) > 0 {
		h.nonces = h.app.nonces(time.Duration(h.Signature.Skew))
	}
	return nil
}

// wanted returns the value of Accept-Signature for a request with a body or
// without.
func (s *Signature) wanted(body bool) []string {
	if body {
		return s.wantedBody
	}
	return s.wantedBare
}

func checkSignedBody(mode string) error {
	if mode != "" && mode != bodyBuffer && mode != bodyStream && mode != bodyOff {
		return fmt.Errorf("signed_body %q: write buffer, stream or off", mode)
	}
	return nil
}

// names reports whether a request was made under one of the authorities.
func (s *Signature) names(r *hmacsig.Request) bool {
	return slices.Contains(s.Authorities, strings.ToLower(r.Authority))
}

// accepts reports whether a scheme is accepted.
func (s *Signature) accepts(scheme string) bool { return slices.Contains(s.Schemes, scheme) }
