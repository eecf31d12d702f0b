package caddyapikey

import (
	"net/netip"
	"strings"
)

// plainHost reports whether a Host is a name or an address, perhaps with a port. Upstreams fold more
// than host matchers do: many drop a dot at the end, some read user information or a list. HTTP/1.0
// may leave it out.
func plainHost(host string) bool {
	if host == "" {
		return true
	}
	if host[0] == '[' {
		address, port, closed := strings.Cut(host[1:], "]")
		addr, err := netip.ParseAddr(address)
		return closed && err == nil && addr.Is6() && addr.Zone() == "" && (port == "" || port[0] == ':' && isPort(port[1:]))
	}
	prev := byte('.')
	for i := 0; i < len(host); i++ {
		c := lowerASCII(host[i])
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.' && prev != '.':
		case c == ':':
			return prev != '.' && isPort(host[i+1:])
		default:
			return false
		}
		prev = c
	}
	return prev != '.'
}

// isPort reports whether s is a number of up to five digits.
func isPort(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return 1 <= len(s) && len(s) <= 5
}
