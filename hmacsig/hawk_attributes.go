package hmacsig

import (
	"slices"
	"strings"
)

// hawkAttributes are the attributes of a Hawk field, in any of its three roles.
// One that is absent is empty, since the grammar has no empty values.
type hawkAttributes struct {
	id, ts, nonce, hash, ext, app, dlg, mac string
	tsm, reason                             string
}

// The names of the attributes by role. The reference's client refuses an answer
// with any other.
var (
	hawkRequestNames   = []string{"id", "ts", "nonce", "hash", "ext", "mac", "app", "dlg"}
	hawkChallengeNames = []string{"ts", "tsm", "error"}
	hawkAnswerNames    = []string{"mac", "hash", "ext"}
)

func (a *hawkAttributes) named(name string) *string {
	switch name {
	case "id":
		return &a.id
	case "ts":
		return &a.ts
	case "nonce":
		return &a.nonce
	case "hash":
		return &a.hash
	case "ext":
		return &a.ext
	case "app":
		return &a.app
	case "dlg":
		return &a.dlg
	case "mac":
		return &a.mac
	case "tsm":
		return &a.tsm
	default:
		return &a.reason
	}
}

// parse reads a field value: the scheme in any case, white space, and
// comma-separated name="value" pairs, each name of names once at most. There are
// no escapes. It goes over the value once.
func (a *hawkAttributes) parse(value string, names []string) error {
	scheme, rest := value, ""
	if end := strings.IndexAny(value, " \t,;=\""); end >= 0 {
		scheme, rest = value[:end], value[end:]
	}
	if !strings.EqualFold(scheme, "Hawk") || len(scheme) != len("Hawk") {
		return ErrNotHawk
	}
	if len(value) > MaxHawk {
		return hawkSyntax("too long")
	}
	if rest == "" || !isHawkSpace(rest[0]) {
		return hawkSyntax("no attributes")
	}
	for rest = trimHawkSpace(rest); ; {
		name, after, ok := strings.Cut(rest, `="`)
		if !ok || !slices.Contains(names, name) {
			return hawkSyntax("an attribute is not known or not of the form name=\"value\"")
		}
		text, after, ok := strings.Cut(after, `"`)
		if !ok || text == "" || !isHawkText(text) {
			return hawkSyntax("a value is empty, not closed, or has characters that need an escape")
		}
		to := a.named(name)
		if *to != "" {
			return hawkSyntax("an attribute occurs twice")
		}
		*to = text
		if after = trimHawkSpace(after); after == "" {
			return nil
		}
		if after[0] != ',' {
			return hawkSyntax("no comma between attributes")
		}
		rest = trimHawkSpace(after[1:])
	}
}

// isHawkText reports whether s has only what an attribute's value may have: 0x20
// to 0x7E without the quotation mark and the backslash.
func isHawkText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7E || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func isHawkSpace(c byte) bool { return c == ' ' || c == '\t' }

func trimHawkSpace(s string) string {
	for s != "" && isHawkSpace(s[0]) {
		s = s[1:]
	}
	return s
}
