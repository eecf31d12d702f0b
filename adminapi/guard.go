package adminapi

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
)

// checkListener refuses to manage keys on an admin endpoint that strangers can
// reach. Three kinds are good: a unix socket, which file permissions guard;
// mutual TLS, as on Caddy's remote admin endpoint; and a listener on a loopback
// address. On the last, Caddy itself has checked the Host header, and the
// Origin header where there is one, against the endpoint's `origins`, so a
// page that rebinds its own name to 127.0.0.1 does not get here. Caddy does not
// check them on a wildcard address; therefore it is not enough that this
// connection happens to be a local one.
func checkListener(r *http.Request) error {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if _, unix := local.(*net.UnixAddr); unix {
		return nil
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return nil
	}
	server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	tcp, _ := local.(*net.TCPAddr)
	if server != nil && tcp != nil && tcp.IP.IsLoopback() && listensOnLoopback(server.Addr) {
		return nil
	}
	return refusal(unsafeListener, "Keys are managed only where no stranger can reach: on an admin endpoint that listens on a loopback address, on a unix socket, or with mutual TLS (admin.remote). This one is none of them. Set it in the global options, for example: admin localhost:2019.")
}

// listensOnLoopback reports whether a configured listen address names the
// loopback interface. Of an inherited file descriptor it is not known.
func listensOnLoopback(listen string) bool {
	addr, err := caddy.ParseNetworkAddress(listen)
	if err != nil || addr.IsFdNetwork() || addr.IsUnixNetwork() {
		return false
	}
	if addr.Host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(addr.Host)
	return err == nil && ip.IsLoopback()
}
