package adminapi

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Sizes of a page.
const (
	defaultLimit = 50
	maxLimit     = 500
)

// maxPlace bounds the place where a list goes on, in bytes: the name of a key,
// an org, or a lockout and a prefix.
const maxPlace = 128

var (
	pageParams    = []string{"after", "limit"}
	lockoutParams = append([]string{"lockout"}, pageParams...)
	keyParams     = append([]string{"expiring_before", "org", "owner", "q", "rotation", "scope", "state", "tag", "tier", "unused_since", "used"}, pageParams...)
)

// checkQuery refuses parameters that a route does not know, that are empty, or
// that stand twice: a filter that is silently left out shows more than was
// asked for.
func checkQuery(raw string, known []string) error {
	if raw == "" {
		return nil
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return refusal(invalidQuery, "The query is not of the form name=value&name=value with percent-encoding.")
	}
	for name, values := range query {
		switch {
		case len(known) == 0:
			return refusal(invalidQuery, "This resource takes no query parameters.")
		case !slices.Contains(known, name):
			return refusal(invalidQuery, "%s is not a parameter here; known are %s.", quoted(name), strings.Join(slices.Sorted(slices.Values(known)), ", "))
		case len(values) > 1:
			return refusal(invalidQuery, "%s stands there twice; write it once.", name)
		case values[0] == "":
			return refusal(invalidQuery, "%s has no value; leave it out if it does not matter.", name)
		}
	}
	return nil
}

// filter reads the parameters that select keys.
func filter(query url.Values) (f keyring.Filter, err error) {
	f = keyring.Filter{
		Org:   query.Get("org"),
		State: keyring.State(query.Get("state")),
		Scope: query.Get("scope"),
		Owner: query.Get("owner"),
		Tag:   query.Get("tag"),
		Tier:  query.Get("tier"),
		Text:  query.Get("q"),
	}
	switch f.State {
	case "", keyring.StateActive, keyring.StateSuspended, keyring.StateRevoked:
	default:
		return f, refusal(invalidQuery, "state is active, suspended or revoked; deleted keys are never listed.")
	}
	if f.Scope != "" && keyring.ValidateScope(f.Scope) != nil {
		return f, refusal(invalidQuery, "scope is one scope without wildcards, such as contacts:read; listed are the keys whose own scopes cover it.")
	}
	if before := query.Get("expiring_before"); before != "" {
		var t time.Time
		if t, err = parseTime(before); err != nil {
			return f, refusal(invalidQuery, "expiring_before: %v.", err)
		}
		f.ExpiringBefore = t
	}
	return f, nil
}

// page reads limit and after.
func page(query url.Values) (after string, limit int, err error) {
	limit = defaultLimit
	if text := query.Get("limit"); text != "" {
		limit, err = strconv.Atoi(text)
		if err != nil || limit < 1 || limit > maxLimit || strconv.Itoa(limit) != text {
			return "", 0, refusal(invalidQuery, "limit is a number from 1 to %d.", maxLimit)
		}
	}
	if text := query.Get("after"); text != "" {
		name, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || len(name) == 0 || len(name) > maxPlace {
			return "", 0, badCursor()
		}
		after = string(name)
	}
	return after, limit, nil
}

// keyPage is page for a list of keys, which goes on behind the id of a key.
func keyPage(query url.Values) (after string, limit int, err error) {
	if after, limit, err = page(query); err == nil && after != "" && !keyring.ValidKeyID(after) {
		err = badCursor()
	}
	return after, limit, err
}

func badCursor() error {
	return refusal(invalidQuery, "after is the \"next\" of an earlier answer to the same list.")
}

// cursor is the opaque form of the place where a list goes on; nil at its end.
func cursor(next string) *string {
	if next == "" {
		return nil
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(next))
	return &text
}

// quoted shows a name that a caller wrote, if it looks like a name at all: it
// could be a secret that was put in the wrong place.
func quoted(name string) string {
	if shown := shownName(name); shown != "" {
		return strconv.Quote(shown)
	}
	return "One of the names"
}

// shownName returns name if it has the form of a field's name and is shorter
// than any token of keyring.MinTokenBits, or "".
func shownName(name string) string {
	if len(name) > 18 {
		return ""
	}
	for _, c := range []byte(name) {
		if c != '_' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return ""
		}
	}
	return name
}
