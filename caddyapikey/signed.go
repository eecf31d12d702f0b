package caddyapikey

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// signature is what a request says of how it was signed. It is a claim until
// verify has succeeded with the key of a credential; what the other methods
// tell is proven from then on.
type signature interface {
	keyID() string
	verify(key hmacsig.Key) error

	// fresh checks the time.
	fresh(now time.Time) error
	// nonce returns what may be used once; ok is false for a signature that may
	// be used again.
	nonce() (second int64, nonce string, ok bool)
	// body returns what verifies the body, nil if none was signed.
	body() bodyDigest
	// ext is what Hawk calls so; ok is false for other schemes.
	ext() (text string, ok bool)

	// base is the text that the signer must have signed. It holds no secret.
	base() string
	// strip removes the signature from the request.
	strip(r *http.Request)
}

// bodyDigest takes a body and tells whether it is the one that was signed.
type bodyDigest interface {
	Write(part []byte) (int, error)
	Verify() error
}

// findSignature returns the signature that a request carries, of the schemes
// that are accepted; nil if it carries none. Its errors are refusals.
func (h *Handler) findSignature(r *http.Request) (signature, *refusal) {
	var found []signature
	var err error
	if s := h.Signature; s.accepts(schemeHawk) {
		found, err = s.appendHawk(found, r)
	}
	if err == nil && h.Signature.accepts(schemeMessage) && hmacsig.CarriesMessage(r.Header) {
		found, err = h.Signature.appendMessage(found, r)
	}
	switch {
	case err != nil:
		return nil, badSyntax
	case len(found) > 1:
		return nil, severalKeys
	case len(found) == 0:
		return nil, nil
	}
	return found[0], nil
}

// authenticateSigned has the key of a signature prove it, and checks what can
// be told without the body.
func (h *Handler) authenticateSigned(kr *keyring.Keyring, r *http.Request, d *decision, s signature) *refusal {
	var failed error
	key, verdict, err := kr.VerifySigned(s.keyID(), h.app.Sealer(), func(key hmacsig.Key) bool {
		failed = s.verify(key)
		return failed == nil
	})
	switch {
	case err != nil:
		h.logger.Error("a signature cannot be verified", zap.Error(err))
		return secretSealed
	case verdict == keyring.Unknown:
		if c := h.logger.Check(zap.DebugLevel, "a signature does not fit; this is what should have been signed"); c != nil {
			c.Write(zap.String("claimed_key", shownKeyID(s.keyID())), zap.NamedError("why", failed), zap.String("base", s.base()))
		}
		d.lacks = hmacsig.Missing(failed)
		return whySigned(failed)
	}
	d.key, d.signed = key, s
	if why := refusalOf(verdict); why != nil {
		return why
	}
	if err := s.fresh(kr.Now()); err != nil {
		return whySigned(err)
	}
	if text, ok := s.ext(); ok && h.Signature.Hawk.Ext == hawkExtOrg && text != key.Org() {
		return wrongExt
	}
	return nil
}

// shownKeyID keeps whatever else a client put in the place of its key's id out of
// logs: sometimes that is its secret.
func shownKeyID(id string) string {
	if keyring.ValidKeyID(id) {
		return id
	}
	return "[not the id of a key]"
}

// whySigned maps the errors of hmacsig. What is wrong with a signature that
// nobody proved is told only as far as it does not depend on the key.
func whySigned(err error) *refusal {
	switch {
	case errors.Is(err, hmacsig.ErrSyntax):
		return badSyntax
	case errors.Is(err, hmacsig.ErrCoverage):
		return thinSignature
	case errors.Is(err, hmacsig.ErrStale):
		return staleSignature
	case errors.Is(err, hmacsig.ErrDigest):
		return badDigest
	case errors.Is(err, hmacsig.ErrReplay):
		return replayed
	case errors.Is(err, hmacsig.ErrNonceQuota):
		return nonceQuota
	case errors.Is(err, hmacsig.ErrNoncesFull):
		return noncesFull
	case errors.Is(err, hmacsig.ErrNonceUnknown):
		return nonceUnknown
	case errors.Is(err, errNoRing):
		return notReady
	}
	return badSignature
}

// settle finishes what a signature asks for, after everything else has let the
// request in: its body has to be the one that was signed, and its nonce is
// spent.
func (h *Handler) settle(r *http.Request, d *decision) *refusal {
	second, nonce, once := d.signed.nonce()
	// By key, not by credential: two of them may have one public key, and a key
	// must not get more room for having more of them.
	key := d.key.ID()
	// Who captured a request must not have many copies of it wait for their body.
	if once && h.app.nonceSpent(key, second, nonce) {
		return replayed
	}
	if why := h.verifyBody(r, d); why != nil {
		return why
	}
	kr := h.app.Keyring()
	if kr == nil {
		return notReady
	}
	if d.waited {
		if why := h.renew(kr, r, d); why != nil {
			return why
		}
		d.waited = false
	}
	if !once {
		return nil
	}
	if err := h.app.spendNonce(h.nonces, key, second, nonce, kr.Now()); err != nil {
		return whySigned(err)
	}
	return nil
}

// renew decides again about a key by what it is now. Its holder decides how long
// the body takes, the disk how long it takes to record, and the key may have ended
// meanwhile.
func (h *Handler) renew(kr *keyring.Keyring, r *http.Request, d *decision) *refusal {
	key, verdict := kr.Renew(d.key)
	if why := refusalOf(verdict); why != nil {
		return why
	}
	d.key, d.filled = key, nil
	if why := admit(kr, r, d); why != nil {
		return why
	}
	return h.authorize(r, d)
}

// signedRequest returns the request as its client signed it.
func signedRequest(r *http.Request) *hmacsig.Request {
	s := &hmacsig.Request{
		Method:        r.Method,
		Scheme:        "http",
		Authority:     r.Host,
		Target:        r.RequestURI,
		Header:        r.Header,
		ContentLength: max(r.ContentLength, 0), // whether there is a body of unknown length, verifyBody finds out
	}
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		s.Method, s.Target = original.Method, original.RequestURI
	}
	if r.TLS != nil {
		s.Scheme = "https"
	}
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if trusted, _ := vars[caddyhttp.TrustedProxyVarKey].(bool); trusted {
		if proto := r.Header["X-Forwarded-Proto"]; len(proto) == 1 && (equalFoldASCII(proto[0], "http") || equalFoldASCII(proto[0], "https")) {
			s.Scheme = strings.ToLower(proto[0])
		}
		if host := r.Header["X-Forwarded-Host"]; len(host) == 1 && host[0] != "" && plainHost(host[0]) {
			s.Authority = host[0]
		}
	}
	return s
}
