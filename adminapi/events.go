package adminapi

import (
	"net/netip"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// maxTold bounds the ids in the event of an import.
const maxTold = 100

// announce tells event handlers what the route did, which is durable and in
// force. A request that is repeated and finds its work done is told again, with
// the same revision: the first answer may have been lost, and the event with it.
func (c *call) announce(event string) {
	c.told["client"] = c.client()
	c.emitter.Emit(event, c.told)
}

// tellKey sets what an event says of a key; credential is the one that the
// change was about, 0 for none. Every value is public and bounded.
func (c *call) tellKey(key *keyring.Key, credential uint32) {
	c.told = map[string]any{
		"id":       key.ID,
		"name":     key.Name,
		"org":      key.Org,
		"revision": key.Revision,
	}
	if credential != 0 {
		c.told["credential"] = credential
	}
}

func (c *call) tellOrg(org *keyring.Org) {
	c.told = map[string]any{"org": org.Name, "revision": org.Revision}
}

func (c *call) tellImport(ids []string) {
	c.told = map[string]any{"count": len(ids), "ids": ids[:min(len(ids), maxTold)]}
}

// client is the address that the request came from, "unix" for a unix socket.
func (c *call) client() string {
	addr, err := netip.ParseAddrPort(c.r.RemoteAddr)
	if err != nil {
		return "unix"
	}
	return addr.Addr().Unmap().WithZone("").String()
}
