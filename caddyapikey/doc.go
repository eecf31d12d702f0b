// Package caddyapikey is the Caddy side of caddy-apikey: the app that holds the
// keys (api_keys), the handler that lets requests in or refuses them
// (http.handlers.api_key), the matcher for handlers behind it
// (http.matchers.api_key), a thin provider for Caddy's own authentication
// handler (http.authentication.providers.api_key), and their Caddyfile.
//
// Everything about keys themselves is in package keyring; this package finds
// the credential in a request, asks the keyring, and turns the verdict into an
// answer. handler.go shows a request's way from top to bottom; refusal.go is
// the one place that says which refusal has which status and text.
package caddyapikey
