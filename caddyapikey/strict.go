package caddyapikey

import (
	"fmt"
	"math/bits"
	"net/http"
	"slices"
	"strings"
)

// Strict refuses requests that two programs can read differently. A rule decides on the path that
// Caddy's matchers see, decoded and cleaned; the upstream receives the path as the client wrote it.
// Wherever those two can differ, a key granted one route reaches another, so such a request is
// answered 400 instead of being interpreted. Ordinary clients never send one.
//
// All checks are on unless relaxed by name:
//
//	dot_segments       `.` and `..`, also encoded or with parameters (`%2e%2e`, `..;x`)
//	empty_segments     `//` in the path; one trailing slash is fine
//	encoded_slash      %2f
//	backslash          `\` and %5c, which some upstreams take for a slash
//	control_bytes      bytes below 0x20 and 0x7f, raw or encoded in the path, raw in the query; a raw space
//	path_parameters    `;` and %3b, which some upstreams cut off together with what follows
//	double_encoding    an escape that is still an escape after decoding once (%252e)
//	fragment           a raw `#`, where some parsers end the path
//	invalid_utf8       a path that is not UTF-8 once decoded, such as overlong forms of `.` and `/`
//	bad_encoding       a `%` that two hexadecimal digits do not follow
//	malformed_query    a query with `;`, with a `%` that two hexadecimal digits do not follow, or with more than
//	                   10,000 parameters: query matchers do not match it, and placeholders lose parts of it
//	host               a Host other than a name or an address and perhaps a port, such as a name with a dot
//	                   at its end: host matchers compare it as it is, and upstreams do not
//	absolute_form      a target that is neither a path nor an http(s) URL with a host: it has no path for a matcher
//	                   to see and yet reaches the upstream; one with user information; `*`
//	method             any method but GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, in capitals (405)
//	connect, trace     these methods (405); WebSockets over HTTP/2 and HTTP/3 are CONNECT requests
//	method_override    a query parameter named `_method`
//	connection_header  a Connection header that names more than connection options: a proxy removes
//	                   the headers named there, identity headers included
//	override_headers   headers that claim another method or path are removed (see scrub)
//	upgrade            an Upgrade to anything but a WebSocket is removed: an upstream that takes up `h2c` would
//	                   get a tunnel with requests that nobody decides about
//
// A relaxed check no longer protects the rules that depend on it. With encoded_slash relaxed, %2f still
// separates segments for dot_segments and empty_segments; backslash and path_parameters likewise.
// The body is not read: an override inside a form is for the upstream to switch off.
//
// The zero value checks nothing; newStrict gives the default.
type Strict struct {
	active checkSet
}

// checkSet is a set of checks, one bit for each.
type checkSet uint32

const (
	checkHost checkSet = 1 << iota
	checkAbsoluteForm
	checkFragment
	checkControlBytes
	checkBadEncoding
	checkMalformedQuery
	checkBackslash
	checkDotSegments
	checkEmptySegments
	checkEncodedSlash
	checkPathParameters
	checkDoubleEncoding
	checkInvalidUTF8
	checkMethod
	checkConnect
	checkTrace
	checkMethodOverride
	checkConnectionHeader
	checkOverrideHeaders
	checkUpgrade
	checkAll = 1<<iota - 1
)

// violation says which check a request failed. The detail is written for the caller and never
// repeats bytes of the request.
type violation struct {
	name   string
	status int
	detail string
}

// violations is indexed by the bit number of the check; when several fail, the first here is told.
var violations = [...]violation{
	{"host", http.StatusBadRequest, "The host must be a name or an address, perhaps with a port, and without a dot at its end."},
	{"absolute_form", http.StatusBadRequest, "The request target must be a path or an http(s) URL without user information."},
	{"fragment", http.StatusBadRequest, "The request target contains a '#'; encode it as %23."},
	{"control_bytes", http.StatusBadRequest, "The request target contains a control character or a raw space."},
	{"bad_encoding", http.StatusBadRequest, "The path contains a '%' without two hexadecimal digits."},
	{"malformed_query", http.StatusBadRequest, "The query contains a ';', a '%' without two hexadecimal digits, or too many parameters."},
	{"backslash", http.StatusBadRequest, "The path contains a backslash."},
	{"dot_segments", http.StatusBadRequest, "The path contains '.' or '..' as a segment."},
	{"empty_segments", http.StatusBadRequest, "The path contains an empty segment."},
	{"encoded_slash", http.StatusBadRequest, "The path contains an encoded slash."},
	{"path_parameters", http.StatusBadRequest, "The path contains a ';'."},
	{"double_encoding", http.StatusBadRequest, "The path is percent-encoded twice."},
	{"invalid_utf8", http.StatusBadRequest, "The path is not valid UTF-8."},
	{"method", http.StatusMethodNotAllowed, "The method is not allowed; methods are written in capitals."},
	{"connect", http.StatusMethodNotAllowed, "CONNECT is not allowed."},
	{"trace", http.StatusMethodNotAllowed, "TRACE is not allowed."},
	{"method_override", http.StatusBadRequest, "The query parameter '_method' is not allowed."},
	{"connection_header", http.StatusBadRequest, "The Connection header names a header that is not a connection option."},
	{"override_headers", http.StatusBadRequest, "A header claims another method or path."},
	{"upgrade", http.StatusBadRequest, "The protocol that the connection is to change to is not allowed."},
}

// overrideHeaders carry a method or a path that the decision did not look at; frameworks obey them.
var overrideHeaders = newHeaderOwner([]string{
	"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override",
	"X-Original-URL", "X-Original-URI", "X-Original-Method", "X-Rewrite-URL",
	"X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Prefix", "X-Forwarded-Method",
})

// newStrict returns every check but those named in relax.
func newStrict(relax []string) (Strict, error) {
	s := Strict{active: checkAll}
	for _, name := range relax {
		i := slices.IndexFunc(violations[:], func(v violation) bool { return v.name == name })
		if i < 0 {
			return Strict{}, fmt.Errorf("unknown check %q: expected one of %s", name, listChecks())
		}
		s.active &^= 1 << i
	}
	return s, nil
}

// listChecks lists the names of all checks, for messages.
func listChecks() string {
	names := make([]string, len(violations))
	for i := range violations {
		names[i] = violations[i].name
	}
	return strings.Join(names, ", ")
}

// check returns the first check that the request fails, nil when it passes all. originalURI is the
// request target as the client sent it; r.URL is what rewrites have made of it and what the upstream
// gets. Both are examined: the first may hold what a rewrite hid, the second what a rewrite produced.
func (s *Strict) check(r *http.Request, originalURI string) *violation {
	failed := methodFlags(r.Method)
	if !plainHost(r.Host) {
		failed |= checkHost
	}

	target, query, wellFormed := splitTarget(originalURI, r.Method)
	if !wellFormed || r.URL.Opaque != "" || r.URL.User != nil {
		failed |= checkAbsoluteForm
	}
	failed |= scanPath(target, asSent) | scanRaw(query)

	// Most requests are not rewritten, and their path has just been seen.
	if p := r.URL.Path; p != target || strings.IndexByte(target, '%') >= 0 {
		failed |= scanPath(p, decoded)
	}
	if p := r.URL.RawPath; p != "" && p != target {
		failed |= scanPath(p, encoded)
	}
	if q := r.URL.RawQuery; q != "" {
		if q != query {
			failed |= scanRaw(q)
		}
		if overridesMethod(q) {
			failed |= checkMethodOverride
		}
	}
	if !connectionOptionsOnly(r.Header["Connection"]) {
		failed |= checkConnectionHeader
	}

	if failed &= s.active; failed != 0 {
		return &violations[bits.TrailingZeros32(uint32(failed))]
	}
	return nil
}

// scrub removes the headers that claim another method or path, and an Upgrade to what no rule could see
// into. They are removed, not refused: a proxy in front may add them to every request, and some clients
// offer h2c with every one.
func (s *Strict) scrub(h http.Header) {
	if s.active&checkOverrideHeaders != 0 {
		overrideHeaders.remove(h)
	}
	if s.active&checkUpgrade != 0 {
		if lines := h["Upgrade"]; lines != nil && (len(lines) != 1 || !equalFoldASCII(lines[0], "websocket")) {
			delete(h, "Upgrade")
		}
	}
}

// methodFlags returns the checks that the method fails. CONNECT and TRACE have names of their own, so
// that relaxing method for WebDAV does not open a tunnel or an echo.
func methodFlags(method string) checkSet {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return 0
	case "CONNECT":
		return checkConnect
	case "TRACE":
		return checkTrace
	}
	switch {
	case equalFoldASCII(method, "CONNECT"):
		return checkMethod | checkConnect
	case equalFoldASCII(method, "TRACE"):
		return checkMethod | checkTrace
	}
	return checkMethod
}

// splitTarget divides a request target (RFC 9112 section 3.2) into its path and its query, undecoded,
// in the way net/http does. It reports false for a target that net/http accepts but that is none of
// the forms that name something to decide about.
func splitTarget(target, method string) (path, query string, wellFormed bool) {
	path, query, _ = strings.Cut(target, "?")
	if path == "" || path[0] == '/' || path == "*" {
		return path, query, path != "" && path != "*"
	}
	authority, isAbsolute := path, false
	if scheme, rest, found := strings.Cut(path, "://"); found {
		isAbsolute = equalFoldASCII(scheme, "http") || equalFoldASCII(scheme, "https")
		authority = rest
	}
	path = ""
	if i := strings.IndexByte(authority, '/'); i >= 0 {
		authority, path = authority[:i], authority[i:]
	}
	wellFormed = (isAbsolute && path != "" || method == http.MethodConnect) && strings.IndexByte(authority, '@') < 0
	return path, query, wellFormed
}

// connectionOptionsOnly reports whether the Connection header names nothing but options of the
// connection. A proxy removes every header named there before it forwards (RFC 9110 section 7.6.1),
// also those it has set itself: naming an identity or forwarding header would make the upstream see
// an anonymous or a local call.
func connectionOptionsOnly(lines []string) bool {
	for _, line := range lines {
		for line != "" {
			var option string
			option, line, _ = strings.Cut(line, ",")
			switch option = strings.Trim(option, " \t"); {
			case option == "", equalFoldASCII(option, "keep-alive"), equalFoldASCII(option, "close"),
				equalFoldASCII(option, "upgrade"), equalFoldASCII(option, "te"),
				equalFoldASCII(option, "trailer"), equalFoldASCII(option, "trailers"),
				equalFoldASCII(option, "http2-settings"), equalFoldASCII(option, "transfer-encoding"),
				equalFoldASCII(option, "proxy-connection"):
			default:
				return false
			}
		}
	}
	return true
}

// equalFoldASCII compares without regard to ASCII case. Unicode folding would take a long s for an s
// and the Kelvin sign for a k.
func equalFoldASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return lowerASCII(c) - 'a' + 10
}
