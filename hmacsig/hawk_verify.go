package hmacsig

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// HawkSkew is how far a client's clock may be off in the reference.
const HawkSkew = time.Minute

// HawkProof is a request of which one key has signed the method, the target, the
// host, the port, the time, the nonce, ext, and the body's hash if it has one.
// Only [HawkClaim.Verify] makes one; the zero HawkProof is stale and fits no body.
type HawkProof struct {
	id          string
	key         Key
	signed      hawkArtifacts
	second      int64
	contentType []string
}

// Verify checks the signature with the key that belongs to the claimed id. It
// returns ErrSignature if it does not fit, and ErrSyntax if the request is none
// that a client can have signed.
//
// The client must have signed for r.Authority. Where that need not be the name
// that the client called, as behind a proxy that sets its own, authorities lists
// the names by which clients call this server: then the signature must be for one
// of them. A request that arrived with one of the names must be signed for that
// one. Names in one list must lead to the same place, since the name on such a
// request is not bound to its signature. Each name more costs a failing request
// one more HMAC.
//
// Of an IPv6 host clients sign either "::1", as the reference's client, or
// "[::1]", as its server expects; both fit. The method is signed in upper case:
// "get" fits where "GET" does.
func (c HawkClaim) Verify(key Key, r *Request, authorities ...string) (*HawkProof, error) {
	if len(key.secret) == 0 {
		return nil, c.VerifyUnknown(r, authorities...)
	}
	a, err := c.artifacts(r)
	if err != nil {
		return nil, err
	}
	fits, err := a.fits(c.mac, key, r, authorities)
	if err != nil {
		return nil, err
	}
	if !fits {
		return nil, ErrSignature
	}
	return &HawkProof{id: c.id, key: key, signed: a, second: c.second, contentType: r.Header["Content-Type"]}, nil
}

// hawkDecoy is a key that nobody has: what fits it is refused as well.
var hawkDecoy = Key{secret: make([]byte, 32)}

// VerifyUnknown does the work of Verify for an id that has no key, so that the
// time of the refusal does not tell which ids there are. It always fails, in the
// way in which Verify would have failed.
func (c HawkClaim) VerifyUnknown(r *Request, authorities ...string) error {
	if _, err := c.Verify(hawkDecoy, r, authorities...); err != nil {
		return err
	}
	return ErrSignature
}

// NormalizedString returns the text that a signature of r with this claim's
// attributes covers, for debugging: a client that disagrees with it signs
// something else. It holds no secret.
func (c HawkClaim) NormalizedString(r *Request) (string, error) {
	a, err := c.artifacts(r)
	if err != nil {
		return "", err
	}
	host, err := parseHawkHost(r.Authority, r.Scheme)
	if err != nil {
		return "", err
	}
	a.host, a.port = host.name, host.port
	return string(a.append(nil)), nil
}

// artifacts returns what the claim says is signed, all but the host.
func (c HawkClaim) artifacts(r *Request) (hawkArtifacts, error) {
	a, err := r.hawkArtifacts("header")
	if err != nil {
		return a, err
	}
	if c.hash != "" && len(r.Header["Content-Type"]) > 1 {
		return a, hawkSyntax("the request has two content types")
	}
	a.ts, a.nonce, a.hash, a.ext, a.app, a.dlg = c.ts, c.nonce, c.hash, c.ext, c.app, c.dlg
	return a, nil
}

// fits looks for the host for which mac fits, and leaves it in a.
func (a *hawkArtifacts) fits(mac string, key Key, r *Request, authorities []string) (bool, error) {
	var room [4]hawkHost
	hosts, err := r.hawkHosts(room[:0], authorities)
	if err != nil {
		return false, err
	}
	h := key.hawkHMAC()
	for _, host := range hosts {
		a.host, a.port = host.name, host.port
		if sameHawkMAC(a.macBy(h), mac) {
			return true, nil
		}
		if strings.Contains(host.name, ":") {
			a.host = "[" + host.name + "]"
			if sameHawkMAC(a.macBy(h), mac) {
				return true, nil
			}
		}
	}
	return false, nil
}

// hawkHosts appends the hosts for which the request may be signed.
func (r *Request) hawkHosts(hosts []hawkHost, authorities []string) ([]hawkHost, error) {
	own, err := parseHawkHost(r.Authority, r.Scheme)
	if len(authorities) == 0 {
		return append(hosts, own), err
	}
	for _, authority := range authorities {
		host, err := parseHawkHost(authority, r.Scheme)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, host)
	}
	if err == nil && slices.Contains(hosts, own) {
		return append(hosts[:0], own), nil
	}
	return hosts, nil
}

// ID returns the id under which the request was signed.
func (p *HawkProof) ID() string { return p.id }

// Second returns the whole seconds of the signed time, since 1970.
func (p *HawkProof) Second() int64 { return p.second }

// Nonce returns the nonce. The reference's client makes nonces of 36 bits, so
// they are unique only together with the key and the second, as [NonceRing] takes
// them.
func (p *HawkProof) Nonce() string { return p.signed.nonce }

// Ext returns what the client has to say besides, or "". Some services have it
// name the organization for which the call is made; whoever gives it a meaning
// must compare it with what the key may do.
func (p *HawkProof) Ext() string { return p.signed.ext }

// App returns the id of the application that the client signed for, or "".
func (p *HawkProof) App() string { return p.signed.app }

// Delegate returns the id of the application that delegated the call, or "".
func (p *HawkProof) Delegate() string { return p.signed.dlg }

// Fresh returns ErrStale if the signed time is further than skew from now, to
// either side. Exactly skew is fresh.
func (p *HawkProof) Fresh(now time.Time, skew time.Duration) error {
	if time.Unix(p.second, 0).Sub(now).Abs() > skew {
		return ErrStale
	}
	return nil
}

// Format hides the key from logs.
func (*HawkProof) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[hawk proof]")) }
