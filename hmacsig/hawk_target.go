package hmacsig

import (
	"net/netip"
	"strings"
)

// hawkResource returns the path and query that are signed: the request-target as
// it stands on the request line, or what follows the authority in its absolute
// form.
func (r *Request) hawkResource() (string, error) {
	for i := range len(r.Target) {
		if r.Target[i] <= ' ' || r.Target[i] > '~' {
			return "", hawkSyntax("the request-target is not ASCII")
		}
	}
	if strings.HasPrefix(r.Target, "/") || r.Target == "*" {
		return r.Target, nil
	}
	scheme, rest, ok := strings.Cut(r.Target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", hawkSyntax("the request-target has neither a path nor the absolute form")
	}
	authority, resource := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, resource = rest[:end], rest[end:]
	}
	if !strings.EqualFold(authority, r.Authority) {
		return "", hawkSyntax("the request names two authorities")
	}
	if !strings.HasPrefix(resource, "/") {
		resource = "/" + resource
	}
	return resource, nil
}

// hawkHost is a host as it is signed: in lower case and without brackets, and a
// port, which is the scheme's unless it is written. A written one is signed as it
// is, also :80 under https. There the reference's server takes 443, and refuses
// what its own client has signed.
type hawkHost struct{ name, port string }

// parseHawkHost reads an authority. It takes names of letters, digits, "-", "_"
// and ".", and IP addresses, nothing that two parsers could understand as
// different hosts: no user, no escapes, no port with leading zeros. The
// reference's server hands all that to a browser's URL parser, which rewrites
// such hosts to others than the client has signed.
func parseHawkHost(authority, scheme string) (hawkHost, error) {
	h := hawkHost{}
	switch scheme {
	case "http":
		h.port = "80"
	case "https":
		h.port = "443"
	default:
		return h, hawkSyntax("the scheme is neither http nor https")
	}
	if len(authority) > 300 { // a name has 253 characters, a port 5
		return h, hawkSyntax("the host is too long")
	}
	name, port, written := authority, "", false
	if literal, ok := strings.CutPrefix(authority, "["); ok {
		var rest string
		if name, rest, ok = strings.Cut(literal, "]"); !ok || !isIPv6(name) {
			return h, hawkSyntax("the host is not an IP address")
		}
		if port, written = strings.CutPrefix(rest, ":"); !written && rest != "" {
			return h, hawkSyntax("the host is malformed")
		}
	} else if name, port, written = strings.Cut(authority, ":"); !isHostName(name) {
		return h, hawkSyntax("the host is malformed")
	}
	if written && port != "" {
		if !isPort(port) {
			return h, hawkSyntax("the port is malformed")
		}
		h.port = port
	}
	h.name = strings.ToLower(name)
	return h, nil
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6() && a.Zone() == ""
}

func isHostName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != ""
}

func isPort(s string) bool {
	if len(s) > 5 || s[0] == '0' && s != "0" || !hawkDigits(s) {
		return false
	}
	return len(s) < 5 || s <= "65535"
}

// isToken reports whether s has only what RFC 9110 allows in a method.
func isToken(s string) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && !strings.Contains("!#$%&'*+-.^_`|~", s[i:i+1]) {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
