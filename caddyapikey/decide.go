package caddyapikey

import (
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// decision is what was found out about one request. why is nil if it may pass.
type decision struct {
	why    *refusal
	denied string     // what denies the address: a file, or "range"
	failed *violation // the strict check that failed
	scope  string     // the scope that is missing
	lacks  []string   // what a signature leaves out

	bare   bool // missingKey, because a key has no scheme in front of it
	public bool
	found  found
	key    keyring.Proven // zero: no credential, or an unknown one
	signed signature      // that the key proved itself by, nil for a token
	rules  ruleSet        // the rules that matched

	cost   uint64        // in units of limits
	limits []limit.State // of the key and its org, once they were asked

	filled []string // the scopes it needed that placeholders had filled in

	addr      netip.Addr // of the client, once somebody asked for it
	addrKnown bool

	audit *auditedCall // of a call that had to be recorded

	claim  signature // that the request carries, proven or not
	waited bool      // for the body or the disk, since it was decided about the key
	ends   []func()  // give back what bodies in memory take
}

// atEnd has something called when the request was served.
func (d *decision) atEnd(f func()) { d.ends = append(d.ends, f) }

// done is called when the request was served.
func (d *decision) done() {
	for _, f := range d.ends {
		f()
	}
}

// returned notes that the handlers behind did not panic, and what they returned.
func (d *decision) returned(err error) {
	if d.audit != nil {
		d.audit.done, d.audit.err = true, err
	}
}

// client returns the address of the client, the zero Addr if it is not known.
func (d *decision) client(r *http.Request) netip.Addr {
	if !d.addrKnown {
		d.addr, _ = clientAddr(r)
		d.addrKnown = true
	}
	return d.addr
}

// decide fills d. It changes nothing about the request.
func (h *Handler) decide(r *http.Request, d *decision) {
	kr := h.app.Keyring()
	if kr == nil {
		d.why = notReady
		return
	}
	if v := h.strict.check(r, originalURI(r)); v != nil {
		d.why, d.failed = badRequest, v
		if v.status == http.StatusMethodNotAllowed {
			d.why = badMethod
		}
		return
	}
	policy, err := h.match(r, &d.rules)
	if err != nil {
		d.why = h.matchFailed(err)
		return
	}
	d.cost = policy.total()
	if policy.public {
		d.public = true
		return
	}
	if isEarlyData(r) {
		d.why = earlyData
		return
	}
	if d.why = h.authenticate(kr, r, d); d.why != nil {
		if d.why == missingKey && policy.anonymous() {
			d.why = nil
		}
		return
	}
	if d.why = admit(kr, r, d); d.why != nil {
		return
	}
	if !policy.granting {
		d.why = noRule
		return
	}
	d.why = h.authorize(r, d)
}

// admit checks from where the key may be used.
func admit(kr *keyring.Keyring, r *http.Request, d *decision) *refusal {
	switch {
	case !d.key.AllowsAddr(d.client(r)):
		return wrongAddress
	case !d.key.AllowsOrigin(firstLine(r.Header["Origin"])):
		return wrongOrigin
	case d.key.IsBoundToCert() && !d.key.AllowsCert(clientCert(r, kr.Now())):
		return wrongCert
	}
	return nil
}

// authenticate finds the one credential and has it proven.
func (h *Handler) authenticate(kr *keyring.Keyring, r *http.Request, d *decision) *refusal {
	s, why := h.findSignature(r)
	if why != nil {
		return why
	}
	f, result := extract(r, h.From)
	if s != nil {
		if result != extractNone {
			return severalKeys
		}
		d.claim = s
		return h.authenticateSigned(kr, r, d, s)
	}
	switch result {
	case extractNone:
		return missingKey
	case extractSeveral:
		return severalKeys
	case extractAmbiguous:
		return badRequest
	case extractUnusable:
		return unknownKey
	}
	d.found = f
	var verdict keyring.Verdict
	d.key, verdict = kr.VerifyToken(f.token, h.app.Prefix)
	return refusalOf(verdict)
}

// originalURI returns the request target as the client sent it, whatever
// rewrites did before us.
func originalURI(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.RequestURI
	}
	return r.RequestURI
}

// isEarlyData reports whether the request may be a replay of TLS early data, as
// seen here or by a proxy in front. Any other value than 1, and more than one,
// mean the same (RFC 8470 section 5.1).
func isEarlyData(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete || r.Header["Early-Data"] != nil
}

// firstLine is what Header.Get returns, for a name that is in canonical form
// already.
func firstLine(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}
