package caddyapikey

import "github.com/caddyserver/caddy/v2"

func init() {
	caddy.RegisterModule(new(EventOrigin))
}

// EventOrigin is the module that events come from, so that they can be
// subscribed to by the module `api_keys`. It does nothing and is not configured.
//
// Caddy takes the origin of an event from the context that a module was
// provisioned with. That of an app which a handler brought up shares its memory
// with the handler's, and names whatever module was provisioned later. This
// module's shares with none.
type EventOrigin struct{ ctx caddy.Context }

// CaddyModule returns the Caddy module information.
func (*EventOrigin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "api_keys.events",
		New: func() caddy.Module { return new(EventOrigin) },
	}
}

// Provision keeps the context.
func (o *EventOrigin) Provision(ctx caddy.Context) error {
	o.ctx = ctx
	return nil
}

// newEventOrigin returns a context to emit events with. It ends with ctx.
func newEventOrigin(ctx caddy.Context) (caddy.Context, error) {
	own, _ := caddy.NewContext(ctx) // cancelling it by hand would call what ctx calls when it ends
	origin, err := own.LoadModuleByID("api_keys.events", nil)
	if err != nil {
		return caddy.Context{}, err
	}
	return origin.(*EventOrigin).ctx, nil
}

// Interface guards
var _ caddy.Provisioner = (*EventOrigin)(nil)
