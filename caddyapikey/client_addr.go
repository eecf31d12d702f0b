package caddyapikey

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// clientAddr returns the address of the client: the one that allow lists, deny lists, lockout and
// records all use. It is Caddy's resolved client IP, without a zone, and an IPv4 address is IPv4 even if
// it arrived mapped into IPv6, so that both spellings meet the same entry of a list.
//
// known is false when the address cannot be told. Behind a trusted proxy Caddy falls back to the
// proxy's own address when the forwarding headers hold nothing usable, and skips over entries that are
// no addresses. Either would let a broken header borrow somebody's address: an allow list of private
// ranges would open, or a lockout would hit everyone behind the proxy. So the address is unknown
//   - if the leftmost entry, which names the client, is not an address;
//   - with trusted_proxies_strict, where entries are read from the right, if an entry before the
//     client's is not an address, or if all entries are trusted proxies;
//   - if the entry that Caddy has chosen no longer stands in the headers, because a handler changed them;
//   - if the request came over a Unix socket without a forwarding header.
//
// A trusted peer that sends no forwarding header speaks for itself, and is known.
func clientAddr(r *http.Request) (addr netip.Addr, known bool) {
	ctx := r.Context()
	vars, _ := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any)
	resolved, _ := vars[caddyhttp.ClientIPVarKey].(string)
	addr, ok := parseAddr(resolved)
	if !ok {
		return netip.Addr{}, false
	}
	if trusted, _ := vars[caddyhttp.TrustedProxyVarKey].(bool); !trusted {
		return addr, true
	}
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil {
		return netip.Addr{}, false
	}
	if !forwarded(r.Header, server.ClientIPHeaders) {
		return addr, true
	}
	if server.TrustedProxiesStrict > 0 {
		ok = addr != peerAddr(r) && chosenFromRight(r.Header, server.ClientIPHeaders, addr)
	} else {
		ok = chosenFromLeft(r.Header, server.ClientIPHeaders, addr)
	}
	if !ok {
		return netip.Addr{}, false
	}
	return addr, true
}

// forwarded reports whether any of the headers is present, be it empty.
func forwarded(h http.Header, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return len(h.Values(name)) > 0 })
}

// chosenFromLeft reports whether addr is the leftmost entry of the first header that is present.
func chosenFromLeft(h http.Header, names []string, addr netip.Addr) bool {
	for _, name := range names {
		if lines := h.Values(name); len(lines) > 0 {
			entry, _, _ := strings.Cut(lines[0], ",")
			first, ok := parseEntry(entry)
			return ok && first == addr
		}
	}
	return false
}

// chosenFromRight reports whether addr is found by reading each header from the right, with nothing but
// addresses on the way.
func chosenFromRight(h http.Header, names []string, addr netip.Addr) bool {
	for _, name := range names {
		for _, line := range slices.Backward(h.Values(name)) {
			for more := true; more; {
				i := strings.LastIndexByte(line, ',')
				entry, ok := parseEntry(line[i+1:])
				if !ok {
					return false
				}
				if entry == addr {
					return true
				}
				if more = i >= 0; more {
					line = line[:i]
				}
			}
		}
	}
	return false
}

// parseEntry reads one entry of a forwarding header as Caddy does: an address, perhaps with a port.
func parseEntry(entry string) (netip.Addr, bool) {
	if addr, ok := parseAddr(strings.TrimSpace(entry)); ok {
		return addr, true
	}
	host, _, err := net.SplitHostPort(entry)
	if err != nil {
		return netip.Addr{}, false
	}
	return parseAddr(strings.TrimSpace(host))
}

// parseAddr reads an address and drops its zone, which only an IPv6 address can have: Caddy cuts off
// whatever follows a %, and so would take "10.0.0.1%x" for an address.
func parseAddr(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	return addr.WithZone("").Unmap(), err == nil
}

// peerAddr returns the address of the connection, the zero Addr if it has none.
func peerAddr(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := parseAddr(host)
	return addr
}
