package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	_ "github.com/mholt/caddy-ratelimit" // of whole stacks

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// guard is the policy that is measured: a scope that depends on the method.
const guard = `@read method GET HEAD
	@write method POST PUT PATCH DELETE
	api_key {
		require @read  contacts:read
		require @write contacts:write
	}`

// The layers around the key, of which none is reached: so many requests do not
// come in a second.
const (
	lockout = `lockout {
		on request 65534 in 1s
		on refused 20 in 1m
		on 429 1000 in 1m
	}`
	addressLimit = `rate_limit {
		zone address {
			key {client_ip}
			events 1000000
			window 1s
		}
	}`
	orgLimit = `rate_limit {
		zone org {
			key {http.api_key.org_or_caller}
			events 1000000
			window 1s
		}
	}`
)

const respond = "respond `" + answerText + "`"

// denying is guard with a deny list.
var denying = strings.Replace(guard, "api_key {", "api_key {\n\t\tdeny 192.0.2.0/24 198.51.100.0/24 2001:db8:bad::/48", 1)

// auditing is guard with every read recorded before it is served.
var auditing = strings.Replace(guard, "contacts:read", "contacts:read {\n\t\t\taudit\n\t\t}", 1)

// siteTexts has the inside of every site. Twins are equal, to show the noise.
var siteTexts = map[string]string{
	"respond":        respond,
	"respond twin":   respond,
	"key, respond":   guard + "\n\t" + respond,
	"audit, respond": auditing + "\n\t" + respond,
	"lockout":        lockout + "\n\t" + respond,
	"layers":         lockout + "\n\troute {\n\t" + addressLimit + "\n\t" + denying + "\n\t" + orgLimit + "\n\t" + respond + "\n\t}",
	"fewer layers":   lockout + "\n\t" + guard + "\n\t" + orgLimit + "\n\t" + respond,
	"layers, proxy":  lockout + "\n\troute {\n\t" + addressLimit + "\n\t" + denying + "\n\t" + orgLimit + "\n\treverse_proxy {$UPSTREAM}\n\t}",
	"proxy":          "reverse_proxy {$UPSTREAM}",
	"proxy twin":     "reverse_proxy {$UPSTREAM}",
	"key, proxy":     guard + "\n\treverse_proxy {$UPSTREAM}",
	"forward_auth":   "forward_auth {$AUTH} {\n\t\turi /check\n\t\tcopy_headers X-Key-Id\n\t}\n\t" + respond,
	"forward, proxy": "forward_auth {$AUTH} {\n\t\turi /check\n\t\tcopy_headers X-Key-Id\n\t}\n\treverse_proxy {$UPSTREAM}",
}

// startServer starts Caddy in this process with every site, and returns their
// addresses.
func startServer(dir string, services serviceAddrs) (map[string]string, error) {
	text := fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tstorage file_system %s\n\tlog default {\n\t\tlevel ERROR\n\t}\n\tapi_keys {\n\t\tstore bolt %s\n\t}\n}\n",
		filepath.Join(dir, "caddy"), filepath.Join(dir, "keys", "keys.db"))
	addrs := make(map[string]string)
	for name, site := range siteTexts {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		addrs[name] = addr
		text += fmt.Sprintf("http://%s {\n\tbind 127.0.0.1\n\t%s\n}\n", addr, site)
	}
	text = strings.NewReplacer("{$UPSTREAM}", services.Upstream, "{$AUTH}", services.Auth).Replace(text)
	return addrs, rig.LoadCaddyfile(text)
}

// freeAddr returns a loopback address that nobody listened on a moment ago.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// app is the running app.
type app interface {
	Keyring() *keyring.Keyring
	Sealer() *keyring.Sealer
}

func runningApp() (app, error) {
	running, err := caddy.ActiveContext().AppIfConfigured("api_keys")
	if err != nil {
		return nil, err
	}
	a := running.(app)
	if a.Keyring() == nil {
		return nil, errors.New("the app is not running")
	}
	return a, nil
}

// createSigner gives the running server a key that signs.
func createSigner(ctx context.Context) (*signedBy, error) {
	a, err := runningApp()
	if err != nil {
		return nil, err
	}
	key, secret, err := a.Keyring().Create(ctx, keyring.Key{Name: "signer", Scopes: []string{"contacts:read"}},
		keyring.Issue{Kind: keyring.KindSharedSecret, Sealer: a.Sealer()})
	if err != nil {
		return nil, err
	}
	return &signedBy{key.ID, secret.Reveal()}, nil
}

// importKeys gives the running server its keys, each with scopes and an address
// list.
func importKeys(ctx context.Context, n int) error {
	a, err := runningApp()
	if err != nil {
		return err
	}
	allow := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for done := 0; done < n; {
		imports := make([]keyring.Import, min(n-done, keyring.MaxImport))
		for i := range imports {
			imports[i] = keyring.Import{
				Key: keyring.Key{
					Name:   fmt.Sprint("customer ", done+i),
					Scopes: []string{"contacts:read", "deals:*"},
					Allow:  allow,
				},
				Token: keyring.NewSecret(tokenOf(done + i)),
			}
		}
		if _, err := a.Keyring().Import(ctx, imports, keyring.DefaultTokenPrefix, false); err != nil {
			return err
		}
		done += len(imports)
	}
	return nil
}

// caddyVersion returns the version of Caddy in this binary.
func caddyVersion() string {
	simple, _ := caddy.Version()
	return simple
}
