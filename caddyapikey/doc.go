// Package caddyapikey is the Caddy side of caddy-apikey: the app that holds the
// keys (api_keys), the handler that lets requests in or refuses them
// (http.handlers.api_key), the lockout of addresses (http.handlers.lockout, which
// needs no keys), and what goes with them: a matcher, a provider for Caddy's own
// authentication handler, a log encoder that hides keys, and the Caddyfile.
//
// What a key is, and whether it is in force, is for package keyring to say. This
// package finds the credential in a request, asks the keyring, and turns the
// verdict into an answer. It reads no file and no network to decide about a
// request, and never writes a key into a log, an error or a metric.
//
// Begin with ServeHTTP in handler.go, a request's way from top to bottom, and
// decide in decide.go, its middle. Then, by the names of files:
//
//	handler, decide, refusal*       a request's way; every refusal with its status and text
//	client_*, strict*, trailers     the client's address and certificate; what two programs could read differently
//	sources, extract                where a token may stand, and the one that does
//	signature*, signed*, nonces     signed requests and answers: options; claim, body, nonce
//	rule*                           which rules match, and the scopes they ask for
//	limit_*                         what keys and orgs spend
//	identity, cors, ending          what the upstream and the caller are told
//	strip, withhold, owned_headers  what is removed from the request
//	linger                          how a refused connection ends
//	authenticator, matcher          the other two modules that ask about a key
//	app*, master_key, steward*      the app: options, start and end, the store and its index; what it does by itself
//	use_*, purge_guard, anomaly*    the record of use, and when old records may go; what use is unusual
//	audit*                          calls that are recorded before they are served; the log of both trails
//	deny*                           denied addresses and their files
//	lockout*                        the lockout handler, its app and its table
//	metrics*, *_metrics             metrics
//	decision_log, access_log        what is logged of a decision
//	event_*, *_events               events
//	log_*                           the encoder that hides keys, and warnings of logs without it
//	caddyfile*, *_caddyfile         the Caddyfile, and what to write instead
//	conflict, *_check               what else of a configuration is refused or warned of
//	loop, replace_file              for all that runs at each tick, or writes a file in one piece
package caddyapikey
