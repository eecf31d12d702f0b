package caddyapikey

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// adminWarned is set in the state of an adaptation that was warned.
const adminWarned = "api_keys.admin_off"

// warnOfNoAdmin warns once of a Caddyfile that asks for keys and switches the
// endpoint off through which they are made. It is only seen there: what runs is
// not told whether it can be managed.
func warnOfNoAdmin(h httpcaddyfile.Helper) {
	admin, _ := h.Option("admin").(*caddy.AdminConfig)
	if admin == nil || !admin.Disabled || h.State == nil || h.State[adminWarned] != nil {
		return
	}
	h.State[adminWarned] = true
	caddy.Log().Named("api_keys").Warn("keys cannot be created, listed or revoked: the global option `admin off` switches off the endpoint that manages them; leave it out, or write `admin localhost:2019`, or a unix socket such as `admin unix//run/caddy/admin.sock`")
}
