package caddyapikey

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/lockout"
)

func init() {
	caddy.RegisterModule(Lockout{})
}

// Lockout refuses requests of addresses that caused too many refusals or errors
// in the handlers behind it, for a while. It needs no API keys.
//
// It counts what this server refuses: the refusals of the api_key handler, and
// the errors that handlers return, such as the 429 of rate_limit, the 401 of
// basic_auth and whatever `error` says; or every request, whatever becomes of it.
// What an upstream answers is never counted, nor a response that a handler such
// as `respond` writes itself.
//
// Handlers of one name share counts and locks, over all sites and routes.
// Locks survive reloads and restarts.
type Lockout struct {
	// What counts and locks are shared by: up to 64 small letters, digits and
	// `.` `_` `-`. Handlers of one name have the same options. Default:
	// `default`.
	Name string `json:"name,omitempty"`

	// What leads to a lock. Default: 1,000 times 429 in a minute.
	On []LockoutRule `json:"on,omitempty"`

	// How long an address is locked. Default: 15 minutes.
	Lock caddy.Duration `json:"lock,omitempty"`

	// Let repeated locks last longer. Default: each is as long as the first.
	Grow *LockoutGrowth `json:"grow,omitempty"`

	// Addresses and CIDR ranges that are neither counted nor refused.
	Exempt []string `json:"exempt,omitempty"`

	// How many bits of an IPv4 address are counted together. Default: 32, each
	// address alone.
	PrefixV4 int `json:"prefix_v4,omitempty"`

	// How many bits of an IPv6 address are counted together. Default: 64, the
	// network of one customer.
	PrefixV6 int `json:"prefix_v6,omitempty"`

	state  *lockoutState
	self   any // []*Lockout of this handler alone, for the request's variables
	logger *zap.Logger
}

// LockoutRule locks an address after a number of outcomes within some time.
type LockoutRule struct {
	// What counts: a status from 400 to 599, `refused` for API keys and
	// signatures that were sent and refused with 401, or `request` for every
	// request.
	Outcome string `json:"outcome"`

	// How many lock the address; of requests how many are let pass before.
	Limit int `json:"limit"`

	// Within what time, up to 24 hours.
	Window caddy.Duration `json:"window"`
}

// LockoutGrowth is how locks grow.
type LockoutGrowth struct {
	// How many times as long as the lock before each repetition lasts.
	Factor int `json:"factor"`

	// How long a lock may get. An address that was not locked for this time
	// begins anew.
	Longest caddy.Duration `json:"longest"`
}

// CaddyModule returns the Caddy module information.
func (Lockout) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.lockout",
		New: func() caddy.Module { return new(Lockout) },
	}
}

// Provision checks the configuration.
func (h *Lockout) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	settings, err := h.settings()
	if err != nil {
		return err
	}
	app, err := ctx.App("lockouts")
	if err != nil {
		return err
	}
	h.state, err = app.(*Lockouts).use(h.Name, settings)
	h.self = []*Lockout{h}
	return err
}

// settings fills in the defaults and checks everything.
func (h *Lockout) settings() (s lockoutSettings, err error) {
	if h.Name == "" {
		h.Name = "default"
	}
	if err := checkLockoutName(h.Name); err != nil {
		return s, err
	}
	if len(h.On) == 0 {
		h.On = []LockoutRule{{Outcome: "429", Limit: 1000, Window: caddy.Duration(time.Minute)}}
	}
	if h.Lock == 0 {
		h.Lock = caddy.Duration(15 * time.Minute)
	}
	if h.PrefixV4 == 0 {
		h.PrefixV4 = 32
	}
	if h.PrefixV6 == 0 {
		h.PrefixV6 = 64
	}
	s.policy = lockout.Policy{Lock: time.Duration(h.Lock), Bits4: h.PrefixV4, Bits6: h.PrefixV6}
	for _, r := range h.On {
		outcome, err := parseOutcome(r.Outcome)
		if err != nil {
			return s, err
		}
		s.policy.Rules = append(s.policy.Rules, lockout.Rule{On: outcome, Limit: r.Limit, Window: time.Duration(r.Window)})
	}
	if h.Grow != nil {
		s.policy.Factor, s.policy.Longest = h.Grow.Factor, time.Duration(h.Grow.Longest)
		if h.Grow.Factor == 0 {
			return s, errors.New("grow: the factor is from 2 to 100")
		}
	}
	if err := s.policy.Validate(); err != nil {
		return s, err
	}
	s.exempt, err = keyring.ParseAddrs("exempt", h.Exempt)
	for _, p := range s.exempt {
		if p.Bits() == 0 {
			return s, fmt.Errorf("exempt: %s would exempt everyone, and nobody would ever be locked", p)
		}
	}
	return s, err
}

// parseOutcome reads a status, or the word refused or request.
func parseOutcome(s string) (lockout.Outcome, error) {
	switch s {
	case lockout.Refused.String():
		return lockout.Refused, nil
	case lockout.Request.String():
		return lockout.Request, nil
	}
	status, err := strconv.ParseUint(s, 10, 16)
	if err != nil || status < 400 || status > 599 {
		return 0, fmt.Errorf("on %q: write `request`, `refused`, or a status from 400 to 599", s)
	}
	return lockout.Outcome(status), nil
}

// ServeHTTP refuses a locked address, and counts what becomes of the request
// otherwise. It does not look at the response, so that it does not stand in the
// way of one that streams or is upgraded.
func (h *Lockout) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	guard, err := h.state.guard()
	if err != nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	addr, known := clientAddr(r)
	if known {
		if left := guard.Remaining(addr); left > 0 && !h.state.exempts(addr) {
			return h.refuse(w, r, addr, left)
		}
	}
	if !h.enter(r) {
		return next.ServeHTTP(w, r) // counted by one of the same name in front
	}
	if h.state.counted(lockout.Request) {
		h.count(r, lockout.Request)
		// Also if it was another request that locked the address meanwhile: of those
		// that come at once no more than the limit are let pass.
		if left := guard.Remaining(addr); left > 0 && known && !h.state.exempts(addr) {
			return h.refuse(w, r, addr, left)
		}
	}
	err = next.ServeHTTP(w, r)
	if err != nil {
		h.countError(r, err)
	}
	return err
}

// refuse answers a request from a locked address.
func (h *Lockout) refuse(w http.ResponseWriter, r *http.Request, addr netip.Addr, left time.Duration) error {
	h.state.counts.refused.Inc()
	if entry := h.logger.Check(zap.DebugLevel, "refused"); entry != nil {
		entry.Write(zap.String("reason", lockedOut.reason), zap.String("client", textOf(addr)),
			zap.String("lockout", h.Name), zap.Duration("remaining", left))
	}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Add(zap.String("api_key_reason", lockedOut.reason))
	}
	w.Header().Set("Retry-After", strconv.FormatInt(int64((left+time.Second-1)/time.Second), 10))
	unread := refuseHeader(w, r)
	body, err := (&decision{why: lockedOut}).problem()
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	return writeProblem(w, r, lockedOut.status, body, unread)
}

// The variables of a request that tell handlers of each other. No configuration
// can name them.
const (
	lockoutsVar = "\x00lockouts"        // the lockout handlers that the request is in
	refusalVar  = "\x00api_key.refused" // why the api_key handler refused it
	doubtVar    = "\x00api_key.doubt"   // why the authentication provider would
)

// enter makes the handler known to those behind it, unless one of the same name
// is already.
func (h *Lockout) enter(r *http.Request) bool {
	inside, _ := caddyhttp.GetVar(r.Context(), lockoutsVar).([]*Lockout)
	if inside == nil {
		caddyhttp.SetVar(r.Context(), lockoutsVar, h.self)
		return true
	}
	if slices.ContainsFunc(inside, func(other *Lockout) bool { return other.Name == h.Name }) {
		return false
	}
	caddyhttp.SetVar(r.Context(), lockoutsVar, append(slices.Clip(inside), h))
	return true
}

// countRefusal tells the lockout handlers that the request is in that the
// api_key handler refuses it. It is counted before it is answered: the answer
// may wait for a client that stalls, who could ask many times meanwhile.
func countRefusal(r *http.Request, why *refusal) {
	inside, _ := caddyhttp.GetVar(r.Context(), lockoutsVar).([]*Lockout)
	if inside == nil {
		return
	}
	caddyhttp.SetVar(r.Context(), refusalVar, why)
	if why.denies() {
		return // for ever, so that there is nothing to lock
	}
	for _, h := range inside {
		h.count(r, lockout.Outcome(why.status))
		if why.refusesCredential() {
			h.count(r, lockout.Refused)
		}
	}
}

// doubtCredential notes that the authentication provider refuses a credential.
// Another provider may accept the request.
func doubtCredential(r *http.Request, why *refusal) {
	if why.refusesCredential() {
		caddyhttp.SetVar(r.Context(), doubtVar, why)
	}
}

// refusesCredential reports whether a key or signature was sent and refused.
// Without one there was nothing to refuse.
func (why *refusal) refusesCredential() bool {
	return why.status == http.StatusUnauthorized && why != missingKey
}

// countError counts the error of a handler.
func (h *Lockout) countError(r *http.Request, err error) {
	status := http.StatusInternalServerError
	var handlerErr caddyhttp.HandlerError
	if errors.As(err, &handlerErr) && handlerErr.StatusCode != 0 {
		status = handlerErr.StatusCode
	}
	if why, ok := caddyhttp.GetVar(r.Context(), refusalVar).(*refusal); ok && why.status == status {
		return // by api_key with `errors caddy`, which was counted
	}
	h.count(r, lockout.Outcome(status))
	if _, doubted := caddyhttp.GetVar(r.Context(), doubtVar).(*refusal); doubted && status == http.StatusUnauthorized {
		h.count(r, lockout.Refused)
	}
}

// count counts one outcome, and locks the address if it was one too many.
func (h *Lockout) count(r *http.Request, outcome lockout.Outcome) {
	if !h.state.counted(outcome) {
		return
	}
	addr, known := clientAddr(r)
	if !known {
		h.state.counts.unknown.Inc()
		return
	}
	if h.state.exempts(addr) {
		return
	}
	guard, err := h.state.guard()
	if err != nil {
		return
	}
	h.state.warnOfProxy(r, addr)
	h.state.counts.outcomes[outcome].Inc()
	if begun, locked := guard.Count(addr, outcome); locked {
		h.state.began(begun, addr)
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Lockout)(nil)
	_ caddyhttp.MiddlewareHandler = (*Lockout)(nil)
)
