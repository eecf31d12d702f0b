package caddyapikey

import (
	"errors"
	"fmt"
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
	h.state, err = app.(*Lockouts).use(h.Name, settings, siteBeing(ctx))
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

// Interface guards
var (
	_ caddy.Provisioner           = (*Lockout)(nil)
	_ caddyhttp.MiddlewareHandler = (*Lockout)(nil)
)
