package caddyapikey

import (
	"fmt"
	"net/http"
	"regexp"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

var realmPattern = regexp.MustCompile(`^[ !#-\[\]-~]{1,64}$`)

func checkRealm(realm string) error {
	if !realmPattern.MatchString(realm) {
		return fmt.Errorf("realm %q: write up to 64 printable ASCII characters without quotes and backslashes, such as `realm \"contacts api\"`", realm)
	}
	return nil
}

// challenges returns the WWW-Authenticate values of a refusal: one for each
// place where a key may stand, with the error codes of RFC 6750 where a key was
// sent.
func (h *Handler) challenges(d *decision) []string {
	if hawk, ok := d.claim.(*hawkSignature); ok && d.why.status == http.StatusUnauthorized {
		return []string{hawk.challenge(d.why, h.app.Keyring())}
	}
	var attributes string
	switch d.why {
	case missingKey:
		return h.challengeMissing
	case unknownKey:
		return h.challengeUnknown
	case severalKeys:
		attributes = `, error="invalid_request"`
	case missingScope:
		// A scope has no character that a quoted string must escape.
		attributes = `, error="insufficient_scope", scope="` + d.scope + `"`
	default:
		attributes = `, error="invalid_token"`
	}
	// Only a 401 asks for a credential; elsewhere the Bearer scheme merely says
	// what was wrong, and a browser must not prompt for another password.
	return h.challengesWith(attributes, d.why.status == http.StatusUnauthorized)
}

// provisionChallenges makes the challenges that strangers cause.
func (h *Handler) provisionChallenges() {
	h.challengeMissing = h.challengesWith("", true)
	h.challengeUnknown = h.challengesWith(`, error="invalid_token"`, true)
}

// challengesWith returns the challenges with attributes for the Bearer scheme.
func (h *Handler) challengesWith(attributes string, asks bool) []string {
	var list []string
	for _, s := range h.From {
		switch {
		case s.Kind == SourceBearer:
			list = append(list, `Bearer realm="`+h.Realm+`"`+attributes)
		case !asks:
		case s.Kind == SourceBasic:
			list = append(list, `Basic realm="`+h.Realm+`", charset="UTF-8"`)
		default:
			list = append(list, `ApiKey realm="`+h.Realm+`", in="`+string(s.Kind)+`", name="`+s.Name+`"`)
		}
	}
	if asks && h.Signature.accepts(schemeHawk) {
		list = append(list, hmacsig.HawkChallenge(nil))
	}
	if asks && h.Signature.accepts(schemeMessage) {
		list = append(list, hmacsig.MessageChallenge)
	}
	return list
}
