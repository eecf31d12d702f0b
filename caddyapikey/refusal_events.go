package caddyapikey

import (
	"net/netip"
	"time"
)

// refusalKind is what is told once a minute: a key, refused for one reason, to
// one network.
type refusalKind struct {
	id     string
	why    *refusal
	prefix netip.Prefix
}

// prefixOf is the network of a client: what one customer or office usually has.
func prefixOf(addr netip.Addr) netip.Prefix {
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, _ := addr.Prefix(bits) // the zero Prefix for an address that is not known
	return prefix
}

// refusalEvents is shared by all configurations, so that a reload does not let
// everything be told again. Its bound is that of all events of refusals in a
// minute.
var refusalEvents = pacer[refusalKind]{pause: time.Minute, most: 1024}
