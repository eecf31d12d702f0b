package caddyapikey

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/lockout"
)

func init() {
	caddy.RegisterModule(new(Lockouts))
}

// Lockouts is the app behind the lockout handlers of a configuration. It has no
// options and is there when a handler is. It knows no keys and opens no store:
// a lockout works without them.
type Lockouts struct {
	logger    *zap.Logger
	announcer *announcer
	states    map[string]*lockoutState
}

// CaddyModule returns the Caddy module information.
func (*Lockouts) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "lockouts",
		New: func() caddy.Module { return new(Lockouts) },
	}
}

// Provision touches no file.
func (a *Lockouts) Provision(ctx caddy.Context) (err error) {
	a.logger = ctx.Logger()
	a.states = make(map[string]*lockoutState)
	if a.announcer, err = newAnnouncer(ctx, a.logger, func() {}); err != nil {
		return err
	}
	return ctx.GetMetricsRegistry().Register(lockoutMetrics)
}

// A name is part of a file's name, also where file systems ignore case.
var lockoutNamePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

func checkLockoutName(name string) error {
	if !lockoutNamePattern.MatchString(name) {
		return fmt.Errorf("name %q: write up to 64 small letters, digits and . _ -, beginning with a letter or digit", name)
	}
	for _, end := range []string{newSuffix, damagedSuffix} {
		if strings.HasSuffix(name, end) {
			return fmt.Errorf("name %q: files of other lockouts end in %s; choose another name", name, end)
		}
	}
	return nil
}

// use returns the state for a handler of a site. Handlers of one name must agree: which
// of them sees a request should not decide what it leads to.
func (a *Lockouts) use(name string, settings lockoutSettings, site string) (*lockoutState, error) {
	if s := a.states[name]; s != nil {
		if !s.settings.equal(settings) {
			return nil, fmt.Errorf("two lockouts are named %s and have different options, one in %s, one in %s; give one of them another name, or both the same options", name, s.site, site)
		}
		return s, nil
	}
	s := &lockoutState{app: a, name: name, site: site, settings: settings, counts: newLockoutCounts(name, settings.policy.Rules)}
	a.states[name] = s
	return s, nil
}

// Start reads what was saved, unless a request came first.
func (a *Lockouts) Start() error {
	for _, s := range a.states {
		if _, err := s.guard(); err != nil {
			return err
		}
	}
	a.announcer.begin()
	return nil
}

// Stop ends the events.
func (a *Lockouts) Stop() error {
	a.announcer.end()
	return nil
}

// Cleanup gives the tables back. Requests that are still being served keep them.
func (a *Lockouts) Cleanup() error {
	if a.announcer != nil { // nil if provisioning failed
		a.announcer.end()
	}
	var errs []error
	for _, s := range a.states {
		errs = append(errs, s.release())
	}
	return errors.Join(errs...)
}

// Emit tells event handlers of a change. It does not wait for them.
func (a *Lockouts) Emit(name string, data map[string]any) {
	e := event{name, data}
	if a.announcer.wanted(name) && !a.announcer.offer(a.announcer.changes, e) {
		a.announcer.drop(e)
	}
}

// Names returns the names of the lockouts that are configured, in order.
func (a *Lockouts) Names() []string { return slices.Sorted(maps.Keys(a.states)) }

// List returns up to limit locks of one name, as lockout.Table.List does.
func (a *Lockouts) List(name string, after netip.Prefix, limit int) (list []lockout.Lock, more bool, err error) {
	guard, err := a.states[name].guard()
	if err != nil {
		return nil, false, err
	}
	list, more = guard.List(after, limit)
	return list, more, nil
}

// Exempts reports whether locking an address would have no effect.
func (a *Lockouts) Exempts(name string, addr netip.Addr) bool { return a.states[name].exempts(addr) }

// Lock locks an address by hand, and saves that before it returns.
func (a *Lockouts) Lock(name string, addr netip.Addr, d time.Duration, reason string) (lockout.Lock, error) {
	s := a.states[name]
	guard, err := s.guard()
	if err != nil {
		return lockout.Lock{}, err
	}
	begun, err := guard.Lock(addr, d, reason)
	if err != nil {
		return lockout.Lock{}, err
	}
	s.counts.locksByHand.Inc()
	s.table.save()
	return begun, nil
}

// Release ends the locks of an address, and saves that before it returns.
func (a *Lockouts) Release(name string, addr netip.Addr) ([]netip.Prefix, error) {
	s := a.states[name]
	guard, err := s.guard()
	if err != nil {
		return nil, err
	}
	released := guard.Release(addr)
	if len(released) > 0 {
		s.table.save()
	}
	return released, nil
}

// Interface guards
var (
	_ caddy.App          = (*Lockouts)(nil)
	_ caddy.Provisioner  = (*Lockouts)(nil)
	_ caddy.CleanerUpper = (*Lockouts)(nil)
)
