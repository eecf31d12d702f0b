package caddyapikey

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/caddyserver/caddy/v2"
)

// The checks here are those of each setting by itself, for the Caddyfile, which
// knows the line, and for JSON.

// check validates the setting. Schemes that are not set are taken for all.
func (s *Signature) check() error {
	for i, scheme := range s.Schemes {
		if err := checkScheme(scheme); err != nil {
			return err
		}
		if slices.Contains(s.Schemes[:i], scheme) {
			return fmt.Errorf("%s is given twice", scheme)
		}
	}
	if s.Skew != 0 {
		if err := checkSkew(s.Skew); err != nil {
			return err
		}
	}
	if s.BodyLimit != 0 {
		if err := checkBodyLimit(s.BodyLimit); err != nil {
			return err
		}
	}
	for _, a := range s.Authorities {
		if err := checkAuthority(a); err != nil {
			return err
		}
	}
	for _, field := range s.Cover {
		if err := checkCover(field); err != nil {
			return err
		}
	}
	if s.Hawk != nil {
		if err := s.Hawk.check(); err != nil {
			return err
		}
	}
	return s.checkReach()
}

// checkReach refuses settings of schemes that are not accepted: whoever wrote
// them would take them for in force.
func (s *Signature) checkReach() error {
	switch {
	case s.Schemes == nil:
	case len(s.Schemes) == 0:
		if s.Skew != 0 || s.BodyLimit != 0 || s.Hawk != nil || len(s.Authorities)+len(s.Cover) > 0 {
			return errors.New("signature off accepts no signed requests, so that its settings have no meaning: leave them out, or write the schemes in place of off")
		}
	case s.Hawk != nil && !s.accepts(schemeHawk):
		return errors.New("hawk has settings but is not accepted: write `signature hawk message { … }`, or leave its block out")
	case len(s.Cover) > 0 && !s.accepts(schemeMessage):
		return errors.New("cover is about message signatures, which are not accepted: Hawk covers no header fields; write `signature message { … }`, or leave cover out")
	}
	return nil
}

func (h *Hawk) check() error {
	if h.Ext != "" && h.Ext != hawkExtOrg {
		return fmt.Errorf("hawk ext %q: write org, which binds the attribute ext to the key's org", h.Ext)
	}
	if h.Bewit != 0 {
		if err := checkBewit(h.Bewit); err != nil {
			return err
		}
	}
	if h.ServerAuthorization != "" {
		return checkServerAuthorization(h.ServerAuthorization)
	}
	return nil
}

func checkScheme(scheme string) error {
	if scheme != schemeHawk && scheme != schemeMessage {
		return fmt.Errorf("signature %q: write hawk, message, both, or off alone; which requests must be signed says `signed` in the block of a `require`", scheme)
	}
	return nil
}

func checkSkew(d caddy.Duration) error {
	if skew := time.Duration(d); skew < time.Second || skew > maxSkew {
		return fmt.Errorf("skew %s: write 1s to 15m; a signature can be repeated within it only because its nonce is remembered that long", skew)
	}
	return nil
}

func checkBewit(d caddy.Duration) error {
	if life := time.Duration(d); life <= 0 || life > maxBewitLife {
		return fmt.Errorf("hawk bewit %s: write a longest life of up to 30d, such as 1h", life)
	}
	return nil
}

func checkServerAuthorization(mode string) error {
	if mode != serverAuthOff && mode != serverAuthBare && mode != serverAuthHash {
		return fmt.Errorf("hawk server_authorization %q: write off, bare or hash", mode)
	}
	return nil
}

func checkAuthority(authority string) error {
	if u, err := url.Parse("//" + authority); err != nil || authority == "" || u.Host != authority || strings.ContainsAny(authority, "{}*,") {
		return fmt.Errorf("authority %q: write a host or host:port as clients name it, without a scheme, wildcard or path, such as api.example.com", authority)
	}
	return nil
}

func checkCover(field string) error {
	if !httpguts.ValidHeaderFieldName(field) {
		return fmt.Errorf("cover %q: write the names of header fields; method, URL and body are always covered", field)
	}
	return nil
}

func checkBodyLimit(n int64) error {
	if n < 1 || n > maxBodySize {
		return errors.New("body_limit: write a size from 1B to 512MiB, such as 10MiB")
	}
	return nil
}

func checkSignedBody(mode string) error {
	if mode != "" && mode != bodyBuffer && mode != bodyStream && mode != bodyOff {
		return fmt.Errorf("signed_body %q: write buffer, stream or off", mode)
	}
	return nil
}
