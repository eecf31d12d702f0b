package caddyapikey

import (
	"net/http"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// refusal is one reason for which a request is not let in. The texts are
// constants: what a caller sent never comes back to him.
type refusal struct {
	reason string // stable name: problem type, placeholder, log field
	status int
	title  string
	detail string
	// proven says that the caller proved a credential, so that the reason may
	// be told apart from others of the same status.
	proven bool
}

// Every refusal there is. All callers who proved nothing get one of the first
// group; unknownKey is the same answer for a token that is mistyped, unknown,
// deleted, or of a wrong checksum, byte for byte.
var (
	badRequest      = &refusal{"bad_request", http.StatusBadRequest, "Ambiguous request", "The request can be read in two ways; it is refused so that no part of the way reads it otherwise.", false}
	badMethod       = &refusal{"bad_method", http.StatusMethodNotAllowed, "Method not allowed", "The method must be a known one, in upper case.", false}
	severalKeys     = &refusal{"several_credentials", http.StatusBadRequest, "More than one credential", "Send exactly one credential, in one place, on one line.", false}
	missingKey      = &refusal{"missing_credential", http.StatusUnauthorized, "API key required", "Send an API key with the request.", false}
	unknownKey      = &refusal{"invalid_key", http.StatusUnauthorized, "Invalid API key", "The API key is not valid.", false}
	earlyData       = &refusal{"early_data", http.StatusTooEarly, "Too early", "Send the request again once the TLS handshake is complete.", false}
	notReady        = &refusal{"unavailable", http.StatusServiceUnavailable, "Cannot decide", "The keys are not available at the moment; try again shortly.", false}
	ruleFailed      = &refusal{"rule_failed", http.StatusServiceUnavailable, "Cannot decide", "A rule could not be evaluated.", false}
	auditDown       = &refusal{"audit_unavailable", http.StatusServiceUnavailable, "Cannot record", "The call must be recorded before it is served, and cannot be.", true}
	clientGone      = &refusal{"client_gone", http.StatusRequestTimeout, "Client gone", "The client left before the call was recorded, so it was not served.", true}
	expiredKey      = &refusal{"expired_key", http.StatusUnauthorized, "API key expired", "The API key, or this credential of it, has expired.", true}
	endedKey        = &refusal{"ended_credential", http.StatusUnauthorized, "Credential ended", "This credential of the API key was ended; use the newer one.", true}
	notYetKey       = &refusal{"not_yet_valid", http.StatusUnauthorized, "API key not valid yet", "The API key becomes valid at a later time.", true}
	suspendedKey    = &refusal{"suspended_key", http.StatusUnauthorized, "API key suspended", "The API key is suspended.", true}
	revokedKey      = &refusal{"revoked_key", http.StatusUnauthorized, "API key revoked", "The API key was revoked.", true}
	mustSign        = &refusal{"signature_required", http.StatusUnauthorized, "Signed request required", "A bare token is not enough here; the request must be signed.", true}
	exposedKey      = &refusal{"exposed_credential", http.StatusUnauthorized, "Credential exposed", "The key must sign its requests; what was sent instead may have been seen and should be rotated.", true}
	badSyntax       = &refusal{"malformed_signature", http.StatusBadRequest, "Malformed signature", "The request's signature cannot be read, or can be read in two ways.", false}
	badSignature    = &refusal{"invalid_signature", http.StatusUnauthorized, "Invalid signature", "The signature is not one of the key that it names, for this request.", false}
	thinSignature   = &refusal{"signature_coverage", http.StatusUnauthorized, "Signature covers too little", "The signature leaves out a part of the request that must be signed.", false}
	secretSealed    = &refusal{"secret_unavailable", http.StatusServiceUnavailable, "Cannot decide", "The signature cannot be verified at the moment.", false}
	staleSignature  = &refusal{"stale_signature", http.StatusUnauthorized, "Stale signature", "The signature's time is too far from now; check the clock and sign again.", true}
	replayed        = &refusal{"replayed_signature", http.StatusUnauthorized, "Signature used before", "The signature was used before; sign each request anew, with a new nonce.", true}
	nonceQuota      = &refusal{"nonce_quota", http.StatusTooManyRequests, "Too many signed requests", "The key has signed more requests than can be remembered; wait and sign again.", true}
	noncesFull      = &refusal{"nonces_full", http.StatusServiceUnavailable, "Cannot decide", "There are more signed requests than can be remembered; try again shortly.", true}
	nonceUnknown    = &refusal{"nonces_unknown", http.StatusServiceUnavailable, "Cannot decide", "Shortly after a start it is not known whether the signature was used before; sign again in a moment.", true}
	unsignedBody    = &refusal{"unsigned_body", http.StatusUnauthorized, "Body not signed", "The request has a body that its signature does not cover.", true}
	badDigest       = &refusal{"body_digest", http.StatusUnauthorized, "Body changed", "The body is not the one that was signed.", true}
	brokenBody      = &refusal{"broken_body", http.StatusBadRequest, "Body cut off", "The body did not arrive whole.", true}
	largeBody       = &refusal{"body_too_large", http.StatusRequestEntityTooLarge, "Body too large", "The body is longer than a signed body may be here.", true}
	crowded         = &refusal{"too_many_bodies", http.StatusServiceUnavailable, "Busy", "Too many signed bodies are being checked; try again shortly.", true}
	bodyQuota       = &refusal{"body_quota", http.StatusTooManyRequests, "Too many signed bodies", "The key has as many signed bodies in memory as it may; let some end first.", true}
	wrongExt        = &refusal{"wrong_ext", http.StatusForbidden, "Wrong ext", "The attribute ext is not the org that the key belongs to.", true}
	mustNotSign     = &refusal{"signing_off", http.StatusUnauthorized, "Signing is off", "The key is not accepted on signed requests.", true}
	orgSuspended    = &refusal{"suspended_org", http.StatusForbidden, "Organisation suspended", "The organisation that the API key belongs to is suspended.", true}
	wrongAddress    = &refusal{"address_not_allowed", http.StatusForbidden, "Address not allowed", "The API key may not be used from this address.", true}
	wrongOrigin     = &refusal{"origin_not_allowed", http.StatusForbidden, "Origin not allowed", "The API key may only be used by pages of the origins it lists.", true}
	wrongCert       = &refusal{"wrong_certificate", http.StatusForbidden, "Wrong client certificate", "The API key may only be used on a TLS connection with a client certificate that it is bound to.", true}
	unboundKey      = &refusal{"unbound_key", http.StatusForbidden, "Key not bound to a certificate", "Here an API key must be bound to a client certificate, and this one is bound to none.", true}
	noRule          = &refusal{"no_rule", http.StatusForbidden, "Not allowed", "No rule lets an API key do this here.", true}
	missingScope    = &refusal{"insufficient_scope", http.StatusForbidden, "Insufficient scope", "The API key lacks a scope that this request requires.", true}
	overLimit       = &refusal{"quota-exceeded", http.StatusTooManyRequests, "Limit reached", "The API key, or its organisation, has no room left for this request; see Retry-After.", true}
	quotasDown      = &refusal{"quotas_unavailable", http.StatusServiceUnavailable, "Cannot decide", "What the API key has spent cannot be recorded at the moment; try again shortly.", true}
	unresolvedScope = &refusal{"unresolved_scope", http.StatusForbidden, "Insufficient scope", "A part of the request that decides the required scope is empty.", true}
)

// The refusals of addresses that are denied, before anything else is looked at.
var (
	deniedAddress  = &refusal{"denied_address", http.StatusForbidden, "Address denied", "Requests from this address are not served.", false}
	unknownAddress = &refusal{"unknown_address", http.StatusForbidden, "Address unknown", "Some addresses are not served, and the request does not tell where it comes from.", false}
)

// missingScheme is how missingKey is told to whoever sent a key without its
// scheme. Any text of a token's form gets it, so that it tells of none.
var missingScheme = &refusal{missingKey.reason, missingKey.status, missingKey.title, "The Authorization header has a key without a scheme: write `Bearer ` in front of it, with the space.", false}

// denies reports whether a refusal is about the address alone.
func (why *refusal) denies() bool { return why == deniedAddress || why == unknownAddress }

// lockedOut answers requests of addresses that are locked. Its name is that of
// draft-ietf-httpapi-ratelimit-headers.
var lockedOut = &refusal{"abnormal-usage-detected", http.StatusTooManyRequests, "Address locked", "This address sent too many requests, or too many that were refused. It is locked for a while; see Retry-After.", false}

// refusalOf maps the keyring's verdict.
func refusalOf(v keyring.Verdict) *refusal {
	switch v {
	case keyring.InForce:
		return nil
	case keyring.NotYetValid:
		return notYetKey
	case keyring.Expired:
		return expiredKey
	case keyring.Ended:
		return endedKey
	case keyring.Suspended:
		return suspendedKey
	case keyring.Revoked:
		return revokedKey
	case keyring.OrgSuspended:
		return orgSuspended
	case keyring.MustSign:
		return exposedKey
	case keyring.MustNotSign:
		return mustNotSign
	}
	return unknownKey
}
