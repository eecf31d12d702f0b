package caddyapikey

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// found is a credential that a request claims to hold; nothing has been proven yet. The token is a
// part of the request, not a copy, unless it had to be decoded.
type found struct {
	token  string
	source *Source
}

// extractResult says how many credentials a request carries.
type extractResult int

const (
	extractNone      extractResult = iota // no credential
	extractOne                            // exactly one, which may be a key
	extractUnusable                       // exactly one, which cannot be a key: 401, like an unknown one
	extractSeveral                        // more than one: 400
	extractAmbiguous                      // a credential that another parser may read differently: 400
)

var strictBase64 = base64.StdEncoding.Strict()

// extract returns the one credential of the request. The token is set only with extractOne; the source
// also with extractUnusable. The sources must be normalized.
func extract(r *http.Request, sources []Source) (found, extractResult) {
	var f found
	result := extractNone
	for i := range sources {
		token, one := sources[i].read(r)
		switch {
		case one == extractNone:
			continue
		case one == extractSeveral || one == extractAmbiguous:
			return found{}, one
		case result != extractNone:
			return found{}, extractSeveral
		}
		if one == extractOne && !isToken(token) {
			one = extractUnusable
		}
		if one == extractUnusable {
			token = ""
		}
		f, result = found{token: token, source: &sources[i]}, one
	}
	return f, result
}

// isToken reports whether s has the length and the characters that every key has: visible ASCII.
func isToken(s string) bool {
	if len(s) == 0 || len(s) > keyring.MaxTokenLen {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// read returns what stands at one place, without judging its characters.
func (s *Source) read(r *http.Request) (string, extractResult) {
	switch s.Kind {
	case SourceBearer:
		return authorization(r.Header, "bearer")
	case SourceBasic:
		return basicPassword(r.Header)
	case SourceHeader:
		switch lines := r.Header[s.Name]; len(lines) {
		case 0:
			return "", extractNone
		case 1:
			return lines[0], extractOne
		}
		return "", extractSeveral
	case SourceQuery:
		return queryToken(r.URL.RawQuery, s.Name)
	case SourceCookie:
		return cookieToken(r.Header["Cookie"], s.Name)
	}
	return "", extractNone
}

// authorization returns the credentials of an Authorization header of the given scheme. Scheme and
// credentials are separated by spaces only (RFC 9110 section 11.4); the scheme is compared as ASCII, so that
// look-alike letters never fold into it. Something that begins with the scheme but goes on in another
// way is a bad credential rather than none: it must not pass for an anonymous request.
func authorization(h http.Header, scheme string) (string, extractResult) {
	lines := h["Authorization"]
	if len(lines) == 0 {
		return "", extractNone
	}
	if len(lines) > 1 {
		return "", extractSeveral
	}
	value := strings.TrimLeft(lines[0], " \t") // HTTP/2 delivers a value with its leading blanks
	if len(value) < len(scheme) || !equalFoldASCII(value[:len(scheme)], scheme) {
		return "", extractNone
	}
	rest := value[len(scheme):]
	if rest != "" && onlyChars(rest[:1], "!#$%&'*+-.^_`|~") {
		return "", extractNone // a longer scheme name
	}
	credentials := strings.TrimLeft(rest, " ")
	if len(credentials) == len(rest) || len(value) != len(lines[0]) {
		return "", extractUnusable
	}
	return credentials, extractOne
}

// lacksScheme reports whether a key stands in the Authorization header as it is,
// where a Bearer one is looked for.
func (h *Handler) lacksScheme(header http.Header) bool {
	lines := header["Authorization"]
	return len(lines) == 1 && keyring.HasForm(strings.TrimSpace(lines[0]), h.app.Prefix) && slices.Contains(h.From, Source{Kind: SourceBearer})
}

// basicPassword returns the password of HTTP Basic authentication (RFC 7617). Base64 that could be
// written in another way is not accepted.
func basicPassword(h http.Header) (string, extractResult) {
	credentials, result := authorization(h, "basic")
	if result != extractOne {
		return "", result
	}
	if len(credentials) > 4*keyring.MaxTokenLen {
		return "", extractUnusable
	}
	decoded, err := strictBase64.DecodeString(credentials)
	if err != nil {
		return "", extractUnusable
	}
	_, password, colon := strings.Cut(string(decoded), ":")
	if !colon {
		return "", extractUnusable
	}
	return password, extractOne
}

func queryToken(query, name string) (string, extractResult) {
	if query == "" {
		return "", extractNone
	}
	value, count, aliased := findParam(query, name)
	switch {
	case aliased:
		return "", extractAmbiguous
	case count == 0:
		return "", extractNone
	case count > 1:
		return "", extractSeveral
	}
	token, err := url.PathUnescape(value) // strict, and leaves `+` alone
	if err != nil {
		return "", extractAmbiguous
	}
	return token, extractOne
}

func cookieToken(lines []string, name string) (string, extractResult) {
	value, count, aliased := findCookie(lines, name)
	switch {
	case aliased:
		return "", extractAmbiguous
	case count == 0:
		return "", extractNone
	case count > 1:
		return "", extractSeveral
	case strings.IndexByte(value, '"') >= 0:
		return "", extractUnusable // some parsers would unwrap it
	}
	return value, extractOne
}
