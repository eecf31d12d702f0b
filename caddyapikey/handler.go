package caddyapikey

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Values of Handler.Mode and Handler.Errors.
const (
	modeEnforce   = "enforce"
	modeObserve   = "observe"
	errorsProblem = "problem"
	errorsCaddy   = "caddy"
)

// Handler lets a request pass if it carries an API key that satisfies every
// rule that matches, and refuses it otherwise. A request that no rule matches
// is refused.
//
// Handlers behind it can use these placeholders:
//
// Placeholder | Description
// ------------|------------
// `{http.auth.user.id}` | the key's id
// `{http.api_key.id}` | the key's id
// `{http.api_key.name}` | its name
// `{http.api_key.org}` | its org
// `{http.api_key.tier}` | its tier, or its org's
// `{http.api_key.owner}` | its owner
// `{http.api_key.credential}` | the number of the credential that was used
// `{http.api_key.request_id}` | the request's id in the list of calls and in the trail
// `{http.api_key.meta.*}` | its metadata, or its org's
// `{http.api_key.caller}` | the key's id, or `anonymous:` and the client's address (IPv6: /64); for limits
// `{http.api_key.org_or_caller}` | `org:` and its org, or if it has none, the caller
//
// and `handle_errors` routes, with `errors caddy`: `{http.api_key.reason}` and
// `{http.api_key.required_scope}`.
type Handler struct {
	// What the site is called in metrics, logs and events: up to 64 letters,
	// digits and `.` `_` `-`. Default: the name of its HTTP server, such as
	// `srv0`.
	Name string `json:"name,omitempty"`

	// The policy. Every rule that matches a request must be satisfied; their
	// order does not matter.
	Rules []*Rule `json:"rules,omitempty"`

	// Where a key may stand in a request. Exactly one of these places may hold
	// one. Default: the Bearer scheme and the header X-API-Key.
	From []Source `json:"from,omitempty"`

	// Which signed requests are accepted. Default: Hawk and HTTP Message
	// Signatures, within 60 seconds.
	Signature *Signature `json:"signature,omitempty"`

	// `enforce`, or `observe`: decide and log, but let every request pass.
	// Default: `enforce`.
	Mode string `json:"mode,omitempty"`

	// How refusals are answered: `problem` writes application/problem+json,
	// `caddy` returns an error for `handle_errors` routes. Default: `problem`.
	Errors string `json:"errors,omitempty"`

	// Client addresses that are refused before anything else is looked at, on
	// public routes, too, beside those of the app.
	Deny *Deny `json:"deny,omitempty"`

	// Names of strict request checks to leave out.
	Relax []string `json:"relax,omitempty"`

	// What the upstream is told about the key, by header. Copies of these
	// headers that a client sent are always removed.
	Forward []Forward `json:"forward,omitempty"`

	// Let browser pages use keys that list their origin: preflight requests
	// are answered and responses carry Access-Control-Allow-Origin.
	CORS bool `json:"cors,omitempty"`

	// Leave the accepted key in the request that goes upstream, for an upstream
	// that still checks it itself. Default: it is removed.
	KeepCredential bool `json:"keep_credential,omitempty"`

	// The realm of the challenges. Default: `api`.
	Realm string `json:"realm,omitempty"`

	app    *App
	logger *zap.Logger
	denied []*denied // by the app and by the handler
	strict Strict
	owned  headerOwner
	keyed  headerOwner // headers that keys stand in
	vary   string      // the Vary line that tells caches keys apart
	nonces *nonces     // that signed requests used
	place  *atomic.Pointer[place]

	audited ruleSet // the rules with audit

	inReferer []Source // parameters with keys or bewits

	challengeMissing, challengeUnknown []string // never changed
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.api_key",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision checks the configuration and compiles the policy.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	app, err := ctx.App("api_keys")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	h.place = new(atomic.Pointer[place])
	if h.Name != "" {
		if err := checkSiteName(h.Name); err != nil {
			return err
		}
	}
	if h.Realm == "" {
		h.Realm = "api"
	}
	if err := checkRealm(h.Realm); err != nil {
		return err
	}
	if h.Mode == "" {
		h.Mode = modeEnforce
	}
	if h.Mode != modeEnforce && h.Mode != modeObserve {
		return fmt.Errorf("mode %q: write %s or %s", h.Mode, modeEnforce, modeObserve)
	}
	if h.Errors == "" {
		h.Errors = errorsProblem
	}
	if h.Errors != errorsProblem && h.Errors != errorsCaddy {
		return fmt.Errorf("errors %q: write %s or %s", h.Errors, errorsProblem, errorsCaddy)
	}
	if err := h.provisionDeny(); err != nil {
		return err
	}
	if h.strict, err = newStrict(h.Relax); err != nil {
		return err
	}
	if err := h.provisionSources(); err != nil {
		return err
	}
	if err := h.provisionForward(); err != nil {
		return err
	}
	if err := h.provisionSignature(); err != nil {
		return err
	}
	h.provisionChallenges()
	h.provisionReferer()
	h.app.guard(ctx, h.credentialPlaces())
	if err := h.provisionRules(ctx); err != nil {
		return err
	}
	if _, err := h.conflict(); err != nil {
		return err
	}
	h.warnOfClientCerts(ctx)
	return h.app.addHandler(ctx, h)
}

// ServeHTTP decides about one request: denied addresses, strict checks, the
// rules that match, exactly one credential, the key in force, its address list,
// its scopes (decide); the digest of a signed body and the nonce (settle); its
// limits (spend); audit if asked. Then it refuses, or strips the credential, sets
// the identity and hands on (serve), and accounts for the answer.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	h.owned.remove(r.Header)
	enforced := h.Mode == modeEnforce
	var d decision
	denied := h.denies(r, &d)
	switch {
	case denied && enforced:
	case !h.guardTrailers(r):
		d.why, enforced = badRequest, true
	case h.CORS && enforced && isPreflight(r) && h.answerPreflight(w, r):
		h.placeOf(r).site.preflight.Add(1)
		return nil
	default:
		h.strict.scrub(r.Header)
		if !denied {
			h.decide(r, &d)
		}
		if d.why == nil && d.signed != nil {
			defer d.done()
			d.why = h.settle(r, &d)
		}
		if d.why == nil {
			d.why = h.spend(r, &d)
		}
		if h.mustAudit(&d) {
			h.audit(r, &d)
		}
		if d.why == nil && d.waited {
			d.why = h.afterWaiting(r, &d)
		}
		if d.why != nil && enforced {
			h.giveBack(&d)
		}
	}
	h.tell(r, &d, enforced)
	if enforced {
		showLimits(w.Header(), &d)
	}
	var a account
	h.openAccount(&a, r, &d)
	defer func() {
		a.close(&d, enforced, err)
		h.closeAudit(r, &d, &a, enforced)
	}()
	if d.why != nil && enforced {
		if h.CORS {
			w = allowOrigin(w, r, h.app.Keyring())
		}
		return h.refuse(w, r, &d)
	}
	err = h.serve(w, r, next, &d, &a)
	d.returned(err)
	return err
}

// serve hands a request on that may pass, or that would have been refused in
// another mode.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, d *decision, a *account) error {
	h.cleanReferer(r)
	if d.public {
		h.withhold(r)
		h.introduceNobody(r, d)
		return next.ServeHTTP(w, r)
	}
	if h.CORS {
		w = allowOrigin(w, r, h.app.Keyring())
	}
	if d.why != nil {
		return next.ServeHTTP(a.meter(w, h.introduceNobody(r, d)), r)
	}
	if !d.key.IsZero() && !h.KeepCredential && h.Mode == modeEnforce {
		if d.signed != nil {
			d.signed.strip(r)
		} else {
			strip(r, d.found, h.From)
			stripOriginal(r, d.found)
		}
	}
	h.warnOfEnd(r, d, a)
	id := &identity{key: d.key, request: a.call.RequestID}
	if d.key.IsZero() {
		id.addr = d.client(r)
	}
	meter := h.introduce(r, id)
	h.protectCaches(w.Header(), meter, d)
	w = a.meter(w, meter)
	if d.signed == nil {
		return next.ServeHTTP(w, r)
	}
	w, finish := h.answerSigned(w, r, d)
	if err := next.ServeHTTP(w, r); err != nil {
		return err
	}
	return finish()
}

// protectCaches keeps a shared cache from serving one key's response to
// another. Caches do so by themselves for Authorization only (RFC 9111 section
// 3.5), and not if the upstream calls the response public, nor for what they
// stored of an optional route.
//
// The line stands in the visitor's own meter: Caddy's header handler replaces
// text in header lines where they are, so that no two answers may share one.
func (h *Handler) protectCaches(header http.Header, own *answerMeter, d *decision) {
	switch {
	case h.vary == "":
	case header["Vary"] == nil:
		own.vary[0] = h.vary
		header["Vary"] = own.vary[:]
	default:
		header["Vary"] = append(header["Vary"], h.vary)
	}
	if d.found.source != nil && d.found.source.Kind == SourceQuery || d.signed != nil {
		header.Add("Cache-Control", "private")
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
