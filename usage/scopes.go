package usage

import (
	"sync"
	"time"
)

// scopeParts and maxNewScopes bound the scopes that wait to be written, and how
// many requests wait for one another.
const (
	scopeParts   = 16
	maxNewScopes = 1 << 10 // in each part
)

// scopeSet has the scopes that keys needed since the last batch. Only rules
// whose scopes have placeholders use it.
type scopeSet [scopeParts]struct {
	mu   sync.Mutex
	seen map[scopeID]time.Time
}

type scopeID struct {
	key   [KeyLen]byte
	scope string
}

func (s *scopeSet) add(key [KeyLen]byte, scope string, now time.Time) {
	part := &s[key[KeyLen-1]%scopeParts] // the end of an id is random
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.seen == nil {
		part.seen = make(map[scopeID]time.Time)
	}
	id := scopeID{key, scope}
	if _, ok := part.seen[id]; !ok && len(part.seen) >= maxNewScopes {
		id.scope = "" // there were more
	}
	part.seen[id] = now
}

func (s *scopeSet) take() []ScopeUse {
	var list []ScopeUse
	for i := range s {
		part := &s[i]
		part.mu.Lock()
		seen := part.seen
		part.seen = nil
		part.mu.Unlock()
		for id, last := range seen {
			list = append(list, ScopeUse{keyText(id.key), id.scope, last.UTC()})
		}
	}
	return list
}
