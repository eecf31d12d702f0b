package keyring

import (
	"strings"
)

// A scope is a permission string of segments joined by ':' or '/', such as
// contacts:read or brands/17:use. Case counts.
//
// A granted scope may hold '*' as a whole segment: as the last one it stands
// for one or more further segments (contacts:* covers contacts:read and
// contacts:export:csv, not contacts), elsewhere for exactly one (brands/*:use).
// '*' alone covers every scope. A scope that a rule requires holds no '*'.
//
// A segment has letters, digits and . _ ~ @ + - ; every other byte is written
// %XX, which is how a placeholder's value is put into a required scope.

// MaxScopeLen bounds a scope, in bytes.
const MaxScopeLen = 256

// Grants is a compiled set of granted scopes. The nil Grants covers nothing.
type Grants struct {
	all      bool
	exact    map[string]struct{}
	prefixes []string // "contacts:" for contacts:*
	globs    []string // with '*' before the last segment
}

// NewGrants checks and compiles granted scopes.
func NewGrants(scopes []string) (*Grants, error) {
	for _, s := range scopes {
		if err := ValidateGrant(s); err != nil {
			return nil, err
		}
	}
	return compileGrants(scopes), nil
}

// compileGrants compiles scopes that were validated when they were written.
func compileGrants(scopes []string) *Grants {
	if len(scopes) == 0 {
		return nil
	}
	g := &Grants{exact: make(map[string]struct{})}
	for _, s := range scopes {
		head, trailing := strings.CutSuffix(s, "*")
		switch {
		case s == "*":
			g.all = true
		case strings.Contains(head, "*"):
			g.globs = append(g.globs, s)
		case trailing:
			g.prefixes = append(g.prefixes, head)
		default:
			g.exact[s] = struct{}{}
		}
	}
	return g
}

// Covers reports whether the grants cover one required scope. It does not
// allocate.
func (g *Grants) Covers(required string) bool {
	if g == nil || required == "" {
		return false
	}
	if g.all {
		return true
	}
	if _, ok := g.exact[required]; ok {
		return true
	}
	for _, p := range g.prefixes {
		if len(required) > len(p) && strings.HasPrefix(required, p) {
			return true
		}
	}
	for _, p := range g.globs {
		if globCovers(p, required) {
			return true
		}
	}
	return false
}

// globCovers walks pattern and required segment by segment.
func globCovers(pattern, required string) bool {
	for {
		pseg, psep, prest := cutSegment(pattern)
		rseg, rsep, rrest := cutSegment(required)
		if pseg == "*" {
			if psep == 0 {
				return rseg != ""
			}
		} else if pseg != rseg {
			return false
		}
		if psep != rsep {
			return false
		}
		if psep == 0 {
			return true
		}
		pattern, required = prest, rrest
	}
}

// cutSegment splits s after its first segment; sep is 0 at the end.
func cutSegment(s string) (segment string, sep byte, rest string) {
	if i := strings.IndexAny(s, ":/"); i >= 0 {
		return s[:i], s[i], s[i+1:]
	}
	return s, 0, ""
}

// ValidateGrant checks a scope that is given to a key or a role.
func ValidateGrant(scope string) error { return validateScope(scope, true) }

// ValidateScope checks a scope that a rule requires: one without wildcards.
func ValidateScope(scope string) error { return validateScope(scope, false) }

func validateScope(scope string, wildcards bool) error {
	const example = "write it like contacts:read"
	if scope == "" {
		return invalid("scope", "empty; %s", example)
	}
	if len(scope) > MaxScopeLen {
		return invalid("scope", "longer than %d bytes", MaxScopeLen)
	}
	for rest, sep := scope, byte(':'); sep != 0; {
		var segment string
		segment, sep, rest = cutSegment(rest)
		switch {
		case segment == "":
			return invalid("scope", "%q has an empty segment; %s", scope, example)
		case segment == "*" && wildcards:
		case segment == "*":
			return invalid("scope", "%q has a wildcard, but a rule requires one definite scope, such as contacts:read: name what the request does; wildcards belong to what a key is granted", scope)
		case strings.Contains(segment, "*"):
			return invalid("scope", "%q: a * stands for a whole segment, as in contacts:*", scope)
		default:
			if err := validateSegment(scope, segment); err != nil {
				return err
			}
		}
	}
	return nil
}

func validateSegment(scope, segment string) error {
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if isScopeByte(c) {
			continue
		}
		if c != '%' {
			return invalid("scope", "%q: the character %q cannot stand in a scope; use letters, digits and . _ ~ @ + -, with : or / between segments", scope, string(rune(c)))
		}
		// Only the one spelling that escaping gives, so that no granted scope
		// silently matches nothing.
		if i+2 >= len(segment) || escapeByte(unhex(segment[i+1])<<4|unhex(segment[i+2])) != segment[i:i+3] {
			return invalid("scope", "%q: %% must be followed by two upper-case hex digits of a byte that needs escaping, such as %%2F", scope)
		}
		i += 2
	}
	return nil
}

// EscapeScopeValue makes a placeholder's value one segment of a required
// scope: whatever it holds, it cannot add a separator or a wildcard. It
// reports false for an empty value, which must refuse the request.
func EscapeScopeValue(value string) (string, bool) {
	plain := true
	for i := 0; i < len(value); i++ {
		plain = plain && isScopeByte(value[i])
	}
	if plain {
		return value, value != ""
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if isScopeByte(value[i]) {
			b.WriteByte(value[i])
		} else {
			b.WriteString(escapeByte(value[i]))
		}
	}
	return b.String(), true
}

func isScopeByte(c byte) bool {
	return isAlnum(c) || strings.IndexByte("._~@+-", c) >= 0
}

// escapeByte returns %XX for a byte that needs it, "" for one that does not.
func escapeByte(c byte) string {
	const hex = "0123456789ABCDEF"
	if isScopeByte(c) {
		return ""
	}
	return string([]byte{'%', hex[c>>4], hex[c&15]})
}

// unhex returns the value of a hex digit, and garbage for any other byte, which
// then fails the comparison with the canonical spelling.
func unhex(c byte) byte {
	switch {
	case c-'0' < 10:
		return c - '0'
	case c-'A' < 6:
		return c - 'A' + 10
	}
	return 0
}
