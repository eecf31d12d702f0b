package caddyapikey

import (
	"net/netip"
	"sync"
	"time"
)

// A kind of refusal is told once in refusalPause; maxRefusalKinds bounds the
// table, and with it all events of refusals in that time.
const (
	refusalPause    = time.Minute
	maxRefusalKinds = 1024
)

// refusalKind is what is told once: a key, refused for one reason, to one
// network.
type refusalKind struct {
	id     string
	why    *refusal
	prefix netip.Prefix
}

// prefixOf is the network of a client: what one customer or office usually has.
func prefixOf(addr netip.Addr) netip.Prefix {
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, _ := addr.Prefix(bits) // the zero Prefix for an address that is not known
	return prefix
}

// refusalEvents is shared by all configurations, so that a reload does not let
// everything be told again.
var refusalEvents refusalLimit

type refusalLimit struct {
	mu    sync.Mutex
	kinds map[refusalKind]*toldRefusal
	sweep time.Time // when to look for old ones again
}

type toldRefusal struct {
	at         time.Time
	suppressed uint64 // since then
}

// admit reports whether a refusal may be told now, and how many of its kind
// were not told since the last one. While the table is full of recent kinds,
// no other is told.
func (l *refusalLimit) admit(kind refusalKind, now time.Time) (suppressed uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	told := l.kinds[kind]
	if told != nil && now.Sub(told.at) < refusalPause {
		told.suppressed++
		return 0, false
	}
	if told != nil {
		suppressed = told.suppressed
	} else if len(l.kinds) >= maxRefusalKinds && !l.makeRoom(now) {
		return 0, false
	}
	if l.kinds == nil {
		l.kinds = make(map[refusalKind]*toldRefusal)
	}
	l.kinds[kind] = &toldRefusal{at: now}
	return suppressed, true
}

// makeRoom forgets kinds that may be told again. It looks at most once a
// second, since it looks at all.
func (l *refusalLimit) makeRoom(now time.Time) bool {
	if now.Before(l.sweep) {
		return false
	}
	l.sweep = now.Add(time.Second)
	for kind, told := range l.kinds {
		if now.Sub(told.at) >= refusalPause {
			delete(l.kinds, kind)
		}
	}
	return len(l.kinds) < maxRefusalKinds
}
