package caddyapikey

import (
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// unmarshalSignature reads the option signature. Syntax:
//
//	signature <off|scheme...> {
//	    skew       <duration>
//	    authority  <host...>
//	    cover      <field...>
//	    body_limit <size>
//	    hawk {
//	        ext org
//	        bewit <duration>
//	        server_authorization off|bare|hash
//	        sha1
//	    }
//	}
func (hd *Handler) unmarshalSignature(h httpcaddyfile.Helper) error {
	args := h.RemainingArgs()
	s := new(Signature)
	switch {
	case len(args) == 1 && args[0] == "off":
		s.Schemes = []string{}
	case len(args) > 0:
		s.Schemes = args
	}
	if err := s.check(); err != nil {
		return h.WrapErr(err)
	}
	start, lines := *h.Dispenser, make(once)
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		if err := lines.see(h); err != nil {
			return err
		}
		if err := s.unmarshalLine(h); err != nil {
			return err
		}
	}
	if len(args)+len(lines) == 0 {
		return h.Err("signature: write hawk, message, both, or off; which requests must be signed says `signed` in the block of a `require`")
	}
	if err := s.checkReach(); err != nil {
		return start.WrapErr(err)
	}
	hd.Signature = s
	return nil
}

func (s *Signature) unmarshalLine(h httpcaddyfile.Helper) error {
	switch option := h.Val(); option {
	case "skew":
		if err := durationArg(h, &s.Skew); err != nil {
			return err
		}
		if err := checkSkew(s.Skew); err != nil {
			return h.WrapErr(err)
		}
	case "authority":
		if s.Authorities = h.RemainingArgs(); len(s.Authorities) == 0 {
			return h.Err("authority: write the names under which clients call, such as api.example.com")
		}
		for _, authority := range s.Authorities {
			if err := checkAuthority(authority); err != nil {
				return h.WrapErr(err)
			}
		}
	case "cover":
		if s.Cover = h.RemainingArgs(); len(s.Cover) == 0 {
			return h.Err("cover: write the header fields that a signature must cover, such as idempotency-key")
		}
		for _, field := range s.Cover {
			if err := checkCover(field); err != nil {
				return h.WrapErr(err)
			}
		}
	case "body_limit":
		if err := sizeArg(h, &s.BodyLimit); err != nil {
			return err
		}
	case "hawk":
		return s.unmarshalHawk(h)
	case "ext", "bewit", "server_authorization", "sha1":
		return h.Errf("%s belongs to Hawk: write it into `hawk { … }` in the block of signature", option)
	default:
		return h.Errf("unknown option %q of signature: write skew, authority, cover, body_limit or hawk", option)
	}
	return noBlock(h)
}

func (s *Signature) unmarshalHawk(h httpcaddyfile.Helper) error {
	if h.NextArg() {
		return h.Err("hawk takes a block inside signature; which schemes are accepted stands behind signature")
	}
	s.Hawk = new(Hawk)
	lines := make(once)
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		if err := lines.see(h); err != nil {
			return err
		}
		if err := s.Hawk.unmarshalLine(h); err != nil {
			return err
		}
	}
	if len(lines) == 0 {
		return h.Err("hawk: write ext, bewit, server_authorization or sha1 into its block, or leave it out")
	}
	return nil
}

func (k *Hawk) unmarshalLine(h httpcaddyfile.Helper) error {
	switch option := h.Val(); option {
	case "ext":
		if !h.AllArgs(&k.Ext) || k.Ext != hawkExtOrg {
			return h.Err("ext: write org, which binds the attribute ext to the key's org")
		}
	case "bewit":
		if err := durationArg(h, &k.Bewit); err != nil {
			return err
		}
		if err := checkBewit(k.Bewit); err != nil {
			return h.WrapErr(err)
		}
	case "server_authorization":
		if !h.AllArgs(&k.ServerAuthorization) {
			return h.Err("server_authorization: write off, bare or hash")
		}
		if err := checkServerAuthorization(k.ServerAuthorization); err != nil {
			return h.WrapErr(err)
		}
	case "sha1":
		k.SHA1 = true
		return noArgs(h, option)
	case "skew", "authority", "cover", "body_limit":
		return h.Errf("%s belongs to all schemes: write it into the block of signature, beside hawk", option)
	default:
		return h.Errf("unknown option %q of hawk: write ext, bewit, server_authorization or sha1", option)
	}
	return noBlock(h)
}

// durationArg reads the one argument of an option that has a duration.
func durationArg(h httpcaddyfile.Helper, field *caddy.Duration) error {
	option, text := h.Val(), ""
	if !h.AllArgs(&text) {
		return h.Errf("%s: write one duration, such as 60s", option)
	}
	d, err := caddy.ParseDuration(text)
	if err != nil || d <= 0 {
		if strings.Trim(text, "0123456789") == "" && strings.Trim(text, "0") != "" {
			return h.Errf("%s: %q has no unit: write `%[1]s %[2]sm` for minutes, or `%[1]s %[2]ss` for seconds", option, text)
		}
		return h.Errf("%s: %q is not a duration such as 60s", option, text)
	}
	*field = caddy.Duration(d)
	return nil
}

// sizeArg reads the one argument of an option that has a size.
func sizeArg(h httpcaddyfile.Helper, field *int64) error {
	option, text := h.Val(), ""
	if !h.AllArgs(&text) {
		return h.Errf("%s: write one size, such as 10MiB", option)
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n < 1 || n > maxBodySize {
		return h.Errf("%s: %q is not a size from 1B to 512MiB, such as 10MiB", option, text)
	}
	*field = int64(n)
	return nil
}
