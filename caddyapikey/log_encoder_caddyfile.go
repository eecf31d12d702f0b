package caddyapikey

import (
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// UnmarshalCaddyfile sets up the encoder. Syntax:
//
//	redact_api_keys {
//	    wrap <encoder>
//	    header <name...>
//	    query <name...>
//	    prefix <prefix...>
//	}
func (e *RedactEncoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the encoder's name
	if d.NextArg() {
		return d.Errf("redact_api_keys takes no argument, but got %q; write its options in a block", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		list, ok := map[string]*[]string{"header": &e.Headers, "query": &e.Query, "prefix": &e.Prefixes}[option]
		switch {
		case option == "wrap":
			if err := e.unmarshalWrap(d); err != nil {
				return err
			}
		case !ok:
			return d.Errf("unknown option %q: write wrap, header, query or prefix", option)
		default:
			values := d.RemainingArgs()
			if len(values) == 0 {
				return d.Errf("%s: write at least one value", option)
			}
			if option != "prefix" { // checked below
				if err := checkRedacted(option, values); err != nil {
					return d.WrapErr(err)
				}
			}
			*list = append(*list, values...)
		}
	}
	for _, prefix := range e.Prefixes {
		if err := keyring.ValidateTokenPrefix(prefix); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func (e *RedactEncoder) unmarshalWrap(d *caddyfile.Dispenser) error {
	if e.WrappedRaw != nil {
		return d.Err("wrap is given twice")
	}
	if !d.NextArg() {
		return d.Err("wrap: write an encoder, such as `wrap console`")
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "caddy.logging.encoders."+name)
	if err != nil {
		return err
	}
	encoder, ok := module.(zapcore.Encoder)
	if !ok {
		return d.Errf("wrap: %s is not an encoder", name)
	}
	e.WrappedRaw = caddyconfig.JSONModuleObject(encoder, "format", name, nil)
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*RedactEncoder)(nil)
