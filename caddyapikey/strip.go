package caddyapikey

import (
	"net/http"
	"net/url"
	"strings"
)

// strip removes an accepted credential from what goes upstream, and leaves every other byte of the
// request as it is: an upstream that is handed keys logs them, and can act as their owners. A Referer
// that repeats the token is dropped as a whole.
//
// The header map and the URL are changed where they are, as Caddy's own handlers do, so that
// placeholders expanded later no longer hold the token. Slices of header lines are replaced, never
// written to, because a copy of the request may share them.
func strip(r *http.Request, f found, sources []Source) {
	if f.source == nil {
		return
	}
	switch f.source.Kind {
	case SourceBearer, SourceBasic:
		delete(r.Header, "Authorization")
	case SourceHeader:
		delete(r.Header, f.source.Name)
	case SourceQuery:
		stripQuery(r, f.source.Name)
	case SourceCookie:
		stripCookie(r.Header, f.source.Name)
	}
	for _, referer := range r.Header["Referer"] {
		if carriesToken(referer, f.token, sources) {
			delete(r.Header, "Referer")
			break
		}
	}
}

// stripQuery removes every parameter of a name from the URL and from RequestURI, which other handlers
// read.
func stripQuery(r *http.Request, name string) {
	old := r.URL.RawQuery
	r.URL.RawQuery, _ = without(old, '&', func(pair string) bool {
		key, _, _ := strings.Cut(pair, "=")
		return key == name && strings.IndexByte(pair, ';') < 0
	})
	if r.URL.RawQuery == old || r.RequestURI == "" {
		return
	}
	target, query, _ := strings.Cut(r.RequestURI, "?")
	switch {
	case query != old:
		r.RequestURI = r.URL.RequestURI()
	case r.URL.RawQuery == "":
		r.RequestURI = target
	default:
		r.RequestURI = target + "?" + r.URL.RawQuery
	}
}

// without removes the elements of a list that drop is true for, each with one
// separator. It goes over the list once, however many there are: a stranger
// decides that.
func without(list string, separator byte, drop func(string) bool) (rest string, first bool) {
	var b strings.Builder
	kept := false
	for i, element := range strings.Split(list, string(separator)) {
		if drop(element) {
			first = first || i == 0
			continue
		}
		if kept {
			b.WriteByte(separator)
		}
		b.WriteString(element)
		kept = true
	}
	return b.String(), first
}

// stripCookie removes every cookie of a name, and lines that had no other.
func stripCookie(h http.Header, name string) {
	lines := h["Cookie"]
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		rest, first := without(line, ';', func(pair string) bool {
			key, _, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			return key == name
		})
		if first {
			rest = strings.TrimLeft(rest, " \t")
		}
		if rest == line || strings.Trim(rest, "; \t") != "" {
			kept = append(kept, rest)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

// carriesToken reports whether a Referer repeats the token, in any encoding that one or two decodings undo,
// or holds a parameter in which tokens are sent, whoever's token that is.
func carriesToken(referer, token string, sources []Source) bool {
	if strings.Contains(referer, token) {
		return true
	}
	if namesKey(referer, sources) {
		return true
	}
	for range 2 {
		decoded := unescapeLoosely(referer)
		if decoded == referer {
			return false
		}
		if strings.Contains(decoded, token) {
			return true
		}
		referer = decoded
	}
	return false
}

// namesKey reports whether a Referer holds a parameter in which tokens are sent.
func namesKey(referer string, sources []Source) bool {
	_, query, _ := strings.Cut(referer, "?")
	query, _, _ = strings.Cut(query, "#")
	for i := range sources {
		if sources[i].Kind == SourceQuery {
			if _, count, aliased := findParam(query, sources[i].Name); count > 0 || aliased {
				return true
			}
		}
	}
	return false
}

// unescapeLoosely decodes what is percent-encoded and leaves malformed escapes alone.
func unescapeLoosely(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	if decoded, err := url.PathUnescape(s); err == nil {
		return decoded
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		b.WriteByte(c)
	}
	return b.String()
}

// findParam looks for a parameter whose undecoded name is exactly the given one. It returns the value
// of the last of them, how many there are, and whether the query holds anything else that some parser would take
// for it: an encoded or differently spelled name, an array, a part behind a semicolon. Reading and
// stripping both use it, and nothing else, so that they can never disagree; url.ParseQuery would
// silently drop the pairs that it dislikes.
func findParam(query, name string) (value string, count int, aliased bool) {
	for start := 0; start < len(query); {
		end := len(query)
		if i := strings.IndexByte(query[start:], '&'); i >= 0 {
			end = start + i
		}
		pair := query[start:end]
		semicolon := strings.IndexByte(pair, ';') >= 0
		if key, text, _ := strings.Cut(pair, "="); key == name && !semicolon {
			value = text
			count++
		} else if !semicolon {
			aliased = aliased || sameParam(key, name)
		} else {
			for part := range strings.SplitSeq(pair, ";") {
				key, _, _ := strings.Cut(part, "=")
				aliased = aliased || sameParam(key, name)
			}
		}
		start = end + 1
	}
	return value, count, aliased
}

// sameParam reports whether some parser would read the undecoded parameter name raw as name: it is
// percent-decoded, `+` is a space, leading spaces go, dots and spaces are underscores, everything from a
// bracket or a NUL on is cut off, and ASCII case is ignored.
func sameParam(raw, name string) bool {
	matched, leading := 0, true
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' && i+2 < len(raw) && isHex(raw[i+1]) && isHex(raw[i+2]) {
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
		} else if c == '+' {
			c = ' '
		}
		if c == ' ' && leading {
			continue
		}
		leading = false
		if c == '[' || c == 0 {
			break
		}
		if matched == len(name) || foldParam(c) != foldParam(name[matched]) {
			return false
		}
		matched++
	}
	return matched == len(name)
}

func foldParam(c byte) byte {
	if c == '.' || c == ' ' {
		return '_'
	}
	return lowerASCII(c)
}

// findCookie looks for a cookie by its exact name over all Cookie lines. It returns the last of them,
// how many there are, and whether one differs only by blanks beside its name.
func findCookie(lines []string, name string) (value string, count int, aliased bool) {
	for _, line := range lines {
		for start := 0; start < len(line); {
			end := len(line)
			if i := strings.IndexByte(line[start:], ';'); i >= 0 {
				end = start + i
			}
			key, text, _ := strings.Cut(strings.Trim(line[start:end], " \t"), "=")
			if key == name {
				value = text
				count++
			} else if strings.TrimSpace(key) == name {
				aliased = true
			}
			start = end + 1
		}
	}
	return value, count, aliased
}
