package caddyapikey

import (
	"strings"
	"unicode/utf8"
)

// pathForm says how the bytes of a path are to be taken.
type pathForm int

const (
	asSent  pathForm = iota // percent-encoded by the client
	encoded                 // percent-encoded as far as net/url cares: RawPath
	decoded                 // decoded once: Path
)

// pathClass marks the bytes of a path that need more than a glance.
var pathClass = func() (class [256]bool) {
	for c := range class {
		class[c] = c <= ' ' || c >= 0x7f || strings.IndexByte(`%;\#`, byte(c)) >= 0
	}
	return class
}()

// scanPath returns the path checks that p fails. Nearly every path is plain and is only glanced at.
func scanPath(p string, form pathForm) checkSet {
	prev := byte(0)
	for i := 0; i < len(p); i++ {
		c := p[i]
		// A dot segment and an empty one both begin behind a slash.
		if pathClass[c] || prev == '/' && (c == '/' || c == '.') {
			return scanPathSlowly(p, form)
		}
		prev = c
	}
	if p != "" && p[0] == '.' {
		return scanPathSlowly(p, form)
	}
	return 0
}

// scanPathSlowly reads the path as the most permissive upstream would: slash and backslash both
// separate, raw or encoded, and a semicolon ends the name of its segment.
func scanPathSlowly(p string, form pathForm) (failed checkSet) {
	const named = 3 // a segment that is neither empty, nor ".", nor ".."
	var (
		segment  = 0     // dots so far, or named
		first    = true  // no separator yet
		params   = false // behind the semicolon of this segment
		escape   = 0     // bytes of an escape that decoding has produced
		utf      [utf8.UTFMax]byte
		utfBytes = 0
	)
	for i := 0; i < len(p); i++ {
		c, escaped := p[i], false
		if c == '%' && form != decoded {
			if i+2 >= len(p) || !isHex(p[i+1]) || !isHex(p[i+2]) {
				failed |= checkBadEncoding
			} else {
				c, escaped = unhex(p[i+1])<<4|unhex(p[i+2]), true
				i += 2
			}
		}

		switch {
		case c == '%' && (escaped || form == decoded):
			escape = 1
		case escape > 0 && isHex(c):
			if escape++; escape == 3 {
				failed |= checkDoubleEncoding
				escape = 0
			}
		default:
			escape = 0
		}

		if c >= utf8.RuneSelf || utfBytes > 0 {
			utf[utfBytes] = c
			utfBytes++
			if utf8.FullRune(utf[:utfBytes]) {
				if r, size := utf8.DecodeRune(utf[:utfBytes]); r == utf8.RuneError && size == 1 {
					failed |= checkInvalidUTF8
				}
				utfBytes = 0
			}
		}

		switch {
		case c == '/' || c == '\\':
			if c == '\\' {
				failed |= checkBackslash
			} else if escaped {
				failed |= checkEncodedSlash
			}
			failed |= segmentFlags(segment)
			if segment == 0 && !first {
				failed |= checkEmptySegments
			}
			segment, params, first = 0, false, false
		case c == ';':
			failed |= checkPathParameters
			params = true
		default:
			if c < ' ' || c == 0x7f || c == ' ' && form == asSent && !escaped {
				failed |= checkControlBytes
			}
			if c == '#' && form == asSent && !escaped {
				failed |= checkFragment
			}
			if c == '.' && segment < named && !params {
				segment++
			} else if !params {
				segment = named
			}
		}
	}
	if utfBytes > 0 {
		failed |= checkInvalidUTF8
	}
	return failed | segmentFlags(segment)
}

// segmentFlags judges a finished segment by the number of dots that it consists of.
func segmentFlags(dots int) checkSet {
	if dots == 1 || dots == 2 {
		return checkDotSegments
	}
	return 0
}
