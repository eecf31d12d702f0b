// Package apikey brings every module of caddy-apikey into a Caddy build:
//
//	xcaddy build --with github.com/caddy-apikey/caddy-apikey
//
// Read package caddyapikey for the HTTP handler and its Caddyfile, package
// keyring for what a key is, package adminapi for management.
package apikey

import (
	_ "github.com/caddy-apikey/caddy-apikey/adminapi"
	_ "github.com/caddy-apikey/caddy-apikey/caddyapikey"
	_ "github.com/caddy-apikey/caddy-apikey/store/bolt"
)
