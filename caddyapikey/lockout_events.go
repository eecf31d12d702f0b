package caddyapikey

import (
	"net/netip"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/lockout"
)

// eventLockout tells that an address was locked. Strangers cause it.
const eventLockout = "api_key_lockout"

// maxLockoutEvents bounds the events of locks in a minute.
const maxLockoutEvents = 100

// lockoutEvents is shared by all configurations, so that a reload does not let
// everything be told again.
var lockoutEvents eventRate

// eventRate lets a number of events pass in each minute.
type eventRate struct {
	mu         sync.Mutex
	began      time.Time // the minute
	passed     int
	suppressed uint64
}

// admit reports whether an event may be told now, and how many were not since
// the last one.
func (l *eventRate) admit(now time.Time) (suppressed uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.began) >= time.Minute {
		l.began, l.passed = now, 0
	}
	if l.passed >= maxLockoutEvents {
		l.suppressed++
		return 0, false
	}
	l.passed++
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}

// lockedOut tells event handlers of a lock.
func (n *announcer) lockedOut(name string, begun lockout.Lock, addr netip.Addr) {
	if active := activeLockouts(); active != nil {
		n = active.announcer // ours may have ended
	}
	if !n.wanted(eventLockout) {
		return
	}
	suppressed, ok := lockoutEvents.admit(time.Now())
	if !ok {
		eventCounts.WithLabelValues(eventLockout, eventSuppressed).Inc()
		return
	}
	e := event{eventLockout, map[string]any{
		"lockout":    name,
		"prefix":     begun.Prefix.String(),
		"on":         begun.Rule.On.String(),
		"times":      begun.Times,
		"seconds":    int64(begun.Remaining.Round(time.Second) / time.Second),
		"reason":     "",
		"client":     textOf(addr),
		"suppressed": suppressed,
	}}
	if !n.offer(n.refusals, e) {
		n.drop(e)
	}
}

// activeLockouts returns the app of the configuration that runs now, nil if it
// has none.
func activeLockouts() *Lockouts {
	running, err := caddy.ActiveContext().AppIfConfigured("lockouts")
	if err != nil {
		return nil
	}
	app, _ := running.(*Lockouts)
	return app
}
