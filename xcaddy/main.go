// Command xcaddy is Caddy with the API-key modules and caddy-ratelimit: the
// same binary that
//
//	xcaddy build --with github.com/caddy-apikey/caddy-apikey --with github.com/mholt/caddy-ratelimit
//
// makes, buildable with nothing but the Go toolchain.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/mholt/caddy-ratelimit"

	_ "github.com/caddy-apikey/caddy-apikey"
)

func main() {
	caddycmd.Main()
}
