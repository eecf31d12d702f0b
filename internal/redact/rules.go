// Package redact takes API keys out of what is logged. It knows log text and
// log fields, but not where keys are read from: Names tells it.
//
// Two kinds of text are taken for secrets: tokens, which are recognised by
// their form wherever they stand, and whatever stands as the value of a header,
// query parameter or cookie that keys are read from. It errs on the side of
// removing too much. text.go finds secrets in text, fields.go in structured
// fields before they become text.
package redact

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Mark stands in place of what was removed.
const Mark = "[redacted]"

// maskedByCaddy is what Caddy itself puts in place of credentials.
const maskedByCaddy = "REDACTED"

// ProbeName is always taken for the name of a header with keys, so that a
// caller can tell whether fields pass through this package: see Masks.
const ProbeName = "api_keys_in_clear"

// Names are the places that keys are read from, and the prefixes of tokens.
// Case does not matter, nor does `_` instead of `-`.
type Names struct {
	Headers  []string
	Query    []string
	Cookies  []string
	Prefixes []string
}

// Rules are compiled Names. They do not change, and any number of goroutines
// may use them.
type Rules struct {
	prefixes []string
	headers  nameSet  // values of fields with these keys
	spelled  []string // headers in the spellings that a request can have
	pairs    nameSet  // values behind these names and an equals sign
	cookies  nameSet  // of pairs: those whose values may hold an ampersand
}

// New compiles names. Some are always in: the header with the signature of a
// signed request, and the query parameter that holds a Hawk bewit.
func New(lists ...Names) *Rules {
	r := &Rules{prefixes: []string{keyring.DefaultTokenPrefix}}
	r.headers.add("Authorization", "Proxy-Authorization", ProbeName)
	r.headers.add(forCGI("Authorization", "Proxy-Authorization")...)
	r.addHeaders("Signature")
	r.pairs.add("bewit")
	for _, n := range lists {
		r.addHeaders(n.Headers...)
		r.pairs.add(n.Headers...) // a caller may well put into the query what belongs in a header
		r.pairs.add(forCGI(n.Headers...)...)
		r.pairs.add(n.Query...)
		r.pairs.add(n.Cookies...)
		r.cookies.add(n.Cookies...)
		r.prefixes = append(r.prefixes, n.Prefixes...)
	}
	return r
}

func (r *Rules) addHeaders(names ...string) {
	r.headers.add(names...)
	r.headers.add(forCGI(names...)...)
	for _, name := range names {
		// Caddy logs a header with underscores, although it serves no request
		// with it.
		for _, spelling := range []string{name, strings.ReplaceAll(name, "-", "_")} {
			if spelling = http.CanonicalHeaderKey(spelling); !slices.Contains(r.spelled, spelling) {
				r.spelled = append(r.spelled, spelling)
			}
		}
	}
}

// forCGI returns what headers are called for CGI, FastCGI and what is like them
// (RFC 3875 section 4.1.18). Caddy logs what it hands to FastCGI at debug level.
func forCGI(headers ...string) []string {
	names := make([]string, len(headers))
	for i, name := range headers {
		names[i] = "HTTP_" + name
	}
	return names
}

// Header reports whether a field or header of this name holds keys.
func (r *Rules) Header(name string) bool { return has(&r.headers, name) }

// Value returns what is shown in place of the value of a header. The scheme of
// an Authorization header stays.
func (r *Rules) Value(header, value string) string {
	if value == "" || value == maskedByCaddy {
		return value
	}
	if strings.HasSuffix(fold(header), "authorization") {
		scheme, rest, _ := strings.Cut(value, " ")
		switch strings.ToLower(scheme) {
		case "bearer", "basic", "digest", "hawk":
			return scheme + " " + masked(rest)
		}
	}
	return masked(value)
}

// masked keeps of a token what lists of keys show, so that its owner can be
// found, and nothing of anything else.
func masked(value string) string {
	hint, _ := keyring.HintOf(value)
	return hint + Mark
}

// nameSet is a set of names. It says no to most other names after a look at
// their length, and no to most pairs after a look at two characters.
type nameSet struct {
	lengths uint64     // a bit for each length; the last for all lengths from 63 on
	ends    [16]uint64 // a bit for each two characters that a name ends with, see endBit
	names   []string   // folded
}

func (s *nameSet) add(names ...string) {
	for _, name := range names {
		if name == "" {
			continue
		}
		name = fold(name)
		s.names = append(s.names, name)
		s.lengths |= 1 << min(len(name), 63)
		last := name[len(name)-1]
		for a := range 256 {
			for b := range 256 {
				if foldByte(byte(b)) == last && (len(name) == 1 || foldByte(byte(a)) == name[len(name)-2]) {
					bit := endBit(byte(a), byte(b))
					s.ends[bit/64] |= 1 << (bit % 64)
				}
			}
		}
	}
}

// mayEnd reports whether a name may end with two characters. Mostly it does when
// it may.
func (s *nameSet) mayEnd(before, last byte) bool {
	bit := endBit(before, last)
	return s.ends[bit/64]&(1<<(bit%64)) != 0
}

func endBit(before, last byte) uint { return (uint(before)*37 + uint(last)) % 1024 }

func has[T string | []byte](s *nameSet, name T) bool {
	if s.lengths&(1<<min(len(name), 63)) == 0 {
		return false
	}
next:
	for _, known := range s.names {
		if len(known) != len(name) {
			continue
		}
		for i := range len(known) {
			if foldByte(name[i]) != known[i] {
				continue next
			}
		}
		return true
	}
	return false
}

// fold makes names equal that somebody may take for each other.
func fold(name string) string {
	folded := []byte(name)
	for i, c := range folded {
		folded[i] = foldByte(c)
	}
	return string(folded)
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case c == '_':
		return '-'
	}
	return c
}
