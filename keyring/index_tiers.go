package keyring

import (
	"maps"
	"strings"
	"sync"
)

// TierUse is how many name a tier.
type TierUse struct {
	Keys int // that are not revoked; those that have their org's tier do not count
	Orgs int
}

// tiers counts who names which tier. No decision depends on it, so it is no part
// of snapshots.
type tiers struct {
	mu  sync.Mutex
	use map[string]TierUse
}

// count adds to the use of a tier; "" is none.
func (t *tiers) count(name string, keys, orgs int) {
	if name == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	use, known := t.use[name]
	use.Keys += keys
	use.Orgs += orgs
	switch {
	case use == TierUse{}:
		delete(t.use, name)
	case known:
		t.use[name] = use
	default:
		if t.use == nil {
			t.use = make(map[string]TierUse)
		}
		t.use[strings.Clone(name)] = use
	}
}

// TiersInUse returns the tiers that keys and orgs name, whether or not anything
// defines them.
func (k *Keyring) TiersInUse() map[string]TierUse {
	t := &k.index.Load().tiers
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.use)
}
