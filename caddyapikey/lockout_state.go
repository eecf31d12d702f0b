package caddyapikey

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/lockout"
)

// lockoutSettings is what the handlers of one name agree on.
type lockoutSettings struct {
	policy lockout.Policy
	exempt []netip.Prefix
}

func (s lockoutSettings) equal(other lockoutSettings) bool {
	a, b := s.policy, other.policy
	same := slices.Equal(a.Rules, b.Rules) && slices.Equal(s.exempt, other.exempt)
	return same && a.Lock == b.Lock && a.Factor == b.Factor && a.Longest == b.Longest && a.Bits4 == b.Bits4 && a.Bits6 == b.Bits6
}

// lockoutState is what the handlers of one name share within a configuration.
type lockoutState struct {
	app      *Lockouts
	name     string
	site     string // of the first handler
	settings lockoutSettings
	counts   *lockoutCounts
	warned   atomic.Bool // of a proxy

	opened atomic.Pointer[lockout.Guard]
	mu     sync.Mutex    // of what follows
	table  *lockoutTable // once opened is set
	gone   bool
}

var errLockoutGone = fmt.Errorf("lockout: %w", keyring.ErrClosed)

// guard returns the table with this configuration's policy. The first one who
// asks opens it: a configuration that is only validated has no requests, and
// apps start in no order.
func (s *lockoutState) guard() (*lockout.Guard, error) {
	if g := s.opened.Load(); g != nil {
		return g, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.opened.Load(); g != nil {
		return g, nil
	}
	if s.gone {
		return nil, errLockoutGone
	}
	table, err := openLockoutTable(s.name, s.app.logger)
	if err != nil {
		return nil, err
	}
	g, err := table.Guard(s.settings.policy)
	if err != nil {
		return nil, errors.Join(err, releaseLockoutTable(s.name))
	}
	s.table = table
	s.opened.Store(g)
	return g, nil
}

// release gives the table back.
func (s *lockoutState) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone = true; s.table == nil {
		return nil
	}
	return releaseLockoutTable(s.name)
}

// counted reports whether a rule is about an outcome.
func (s *lockoutState) counted(outcome lockout.Outcome) bool {
	return slices.ContainsFunc(s.settings.policy.Rules, func(r lockout.Rule) bool { return r.On == outcome })
}

// exempts reports whether an address is neither counted nor refused.
func (s *lockoutState) exempts(addr netip.Addr) bool {
	return slices.ContainsFunc(s.settings.exempt, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// began tells the log, the metrics and event handlers of a lock.
func (s *lockoutState) began(begun lockout.Lock, addr netip.Addr) {
	s.counts.locks[begun.Rule.On].Inc()
	s.app.logger.Warn("address locked",
		zap.String("lockout", s.name),
		zap.String("prefix", begun.Prefix.String()),
		zap.String("on", begun.Rule.String()),
		zap.Duration("for", begun.Remaining),
		zap.Int("times", begun.Times),
		zap.String("client", textOf(addr)))
	s.app.announcer.lockedOut(s.name, begun, addr)
}

// warnOfProxy warns once of what looks like a proxy that Caddy was not told to
// trust: all of its clients would be locked as one.
func (s *lockoutState) warnOfProxy(r *http.Request, addr netip.Addr) {
	if !addr.IsPrivate() && !addr.IsLoopback() || s.warned.Load() {
		return
	}
	if r.Header["X-Forwarded-For"] == nil && r.Header["Forwarded"] == nil {
		return
	}
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	if !trusted && s.warned.CompareAndSwap(false, true) {
		s.app.logger.Warn("requests of a private address that name another client are counted for that address; if it is a proxy, set trusted_proxies in the global options (servers), or all of its clients are locked as one",
			zap.String("lockout", s.name), zap.String("client", textOf(addr)))
	}
}
