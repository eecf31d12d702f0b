package caddyapikey

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Source is a place in the request where a token may stand.
//
// A request must carry exactly one credential, in one of the configured places, on one line. Two are
// refused, also when one of them is junk: trying one place after the other lets a caller be one key
// to this server and another to whatever reads the request next.
type Source struct {
	// Where to look: `bearer` (Authorization: Bearer <token>), `basic` (Authorization: Basic, where the
	// password is the token and the user name is ignored), `header`, `query` or `cookie`.
	Kind SourceKind `json:"in"`

	// The name of the header, query parameter or cookie. Not used by `bearer` and `basic`.
	//
	// Header names are case-insensitive and may not hold `_` or `.`; parameter and cookie names must
	// match exactly. A header named Authorization is read whole, without a scheme; it cannot stand beside
	// `bearer` or `basic`, since one value would then count as two credentials. A token in a query ends up in logs, histories and Referer headers of others: prefer
	// a header. A `+` in a query stands for itself, not for a space, because a token may hold one.
	Name string `json:"name,omitempty"`
}

// SourceKind is the kind of place where a token may stand.
type SourceKind string

// The kinds of places.
const (
	SourceBearer SourceKind = "bearer"
	SourceBasic  SourceKind = "basic"
	SourceHeader SourceKind = "header"
	SourceQuery  SourceKind = "query"
	SourceCookie SourceKind = "cookie"
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

// normalize validates the source and brings a header name into canonical form.
func (s *Source) normalize() error {
	switch s.Kind {
	case SourceBearer, SourceBasic:
		if s.Name != "" {
			return fmt.Errorf("from %s takes no name, got %q", s.Kind, s.Name)
		}
	case SourceHeader:
		s.Name = http.CanonicalHeaderKey(s.Name)
		if !onlyChars(s.Name, "-") {
			return fmt.Errorf("from header: %q is not a header name of letters, digits and '-', such as X-API-Key", s.Name)
		}
		if hasMeaning(s.Name) {
			return fmt.Errorf("from header: %s has a meaning of its own and cannot hold a token", s.Name)
		}
	case SourceQuery, SourceCookie:
		if !onlyChars(s.Name, "-_.~") {
			return fmt.Errorf("from %s: %q is not a name of letters, digits, '-', '_', '.' and '~'", s.Kind, s.Name)
		}
	default:
		return fmt.Errorf("from %q: write bearer, basic, header, query or cookie", s.Kind)
	}
	return nil
}

// hasMeaning reports whether a header, in canonical form, says something to servers and proxies, so that
// it can hold neither a token nor an identity.
func hasMeaning(name string) bool {
	switch name {
	case "Connection", "Content-Length", "Cookie", "Host", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Proxy-Connection", "Referer", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// String returns the source as it is written in a Caddyfile, without `from`.
func (s Source) String() string {
	if s.Name == "" {
		return string(s.Kind)
	}
	return string(s.Kind) + " " + s.Name
}

// headerName returns the canonical name of the header that the token stands in, "" for a query.
func (s Source) headerName() string {
	switch s.Kind {
	case SourceBearer, SourceBasic:
		return "Authorization"
	case SourceHeader:
		return s.Name
	case SourceCookie:
		return "Cookie"
	}
	return ""
}

// onlyChars reports whether s consists of ASCII letters, digits and the others, and is not empty.
func onlyChars(s, others string) bool {
	for i := 0; i < len(s); i++ {
		c := lowerASCII(s[i])
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte(others, c) >= 0) {
			return false
		}
	}
	return s != ""
}

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
	p, count, aliased := findParam(query, name)
	switch {
	case aliased:
		return "", extractAmbiguous
	case count == 0:
		return "", extractNone
	case count > 1:
		return "", extractSeveral
	}
	token, err := url.PathUnescape(p.value) // strict, and leaves `+` alone
	if err != nil {
		return "", extractAmbiguous
	}
	return token, extractOne
}

func cookieToken(lines []string, name string) (string, extractResult) {
	c, count, aliased := findCookie(lines, name)
	switch {
	case aliased:
		return "", extractAmbiguous
	case count == 0:
		return "", extractNone
	case count > 1:
		return "", extractSeveral
	case strings.IndexByte(c.value, '"') >= 0:
		return "", extractUnusable // some parsers would unwrap it
	}
	return c.value, extractOne
}
