// Package adminapi is the management API of caddy-apikey: the Caddy module
// admin.api.api_keys, which answers /api_keys/ on Caddy's admin endpoint.
//
// It translates between HTTP and package keyring and decides nothing about keys
// itself. routes.go lists everything it answers; openapi.json says the same to
// machines, and a test compares the two. A request passes, in this order: the
// guard (guard.go), the route, the running app (adminapi.go), the checks of
// query and body (query.go, decode.go), one method of call, and, if that
// refuses, the one table that turns errors into answers (problem.go).
//
// A token stands in the answer that creates it and nowhere else: not in a later
// answer, not in an error, not in a log. Digests of tokens are in no answer
// except a backup, which is a copy of the store.
//
// It holds no app and no keyring beyond a request: after a rejected reload the
// admin server belongs to a configuration that never ran, so what is running is
// asked for anew each time.
package adminapi
