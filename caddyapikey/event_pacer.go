package caddyapikey

import (
	"sync"
	"time"
)

// pacer lets each kind of event be told once in a while.
type pacer[K comparable] struct {
	pause time.Duration // between two of one kind
	most  int           // kinds that are remembered

	mu    sync.Mutex
	kinds map[K]*told
	sweep time.Time // when to look for old ones again

	untold uint64 // of kinds that found no room, and suppressed ones of those that were forgotten
}

type told struct {
	at         time.Time
	suppressed uint64 // since then
}

// admit reports whether something may be told now, and how many of its kind
// were not told since the last one. While the table is full of recent kinds,
// no other is told.
func (l *pacer[K]) admit(kind K, now time.Time) (suppressed uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.kinds[kind]
	if before != nil && now.Sub(before.at) < l.pause {
		before.suppressed++
		return 0, false
	}
	if before != nil {
		suppressed = before.suppressed
	} else if len(l.kinds) >= l.most && !l.makeRoom(now) {
		l.untold++
		return 0, false
	}
	if l.kinds == nil {
		l.kinds = make(map[K]*told)
	}
	l.kinds[kind] = &told{at: now}
	return suppressed, true
}

// makeRoom forgets kinds that may be told again. It looks at most once a
// second, since it looks at all.
func (l *pacer[K]) makeRoom(now time.Time) bool {
	if now.Before(l.sweep) {
		return false
	}
	l.sweep = now.Add(time.Second)
	for kind, last := range l.kinds {
		if now.Sub(last.at) >= l.pause {
			l.untold += last.suppressed
			delete(l.kinds, kind)
		}
	}
	return len(l.kinds) < l.most
}

// takeUntold returns how many were not told that no later one of their kind will
// tell of; with all, also how many one would, and forgets the kinds.
func (l *pacer[K]) takeUntold(all bool) (n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, l.untold = l.untold, 0
	if all {
		for _, last := range l.kinds {
			n += last.suppressed
		}
		clear(l.kinds)
	}
	return n
}

// giveBack counts what takeUntold returned and could not be told.
func (l *pacer[K]) giveBack(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.untold += n
}
