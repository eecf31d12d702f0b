package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// Stats are figures of the index.
type Stats struct {
	Keys        int // keys that are not deleted
	Active      int // of them, expired ones included
	Suspended   int // of them
	Revoked     int // of them
	Credentials int
	Orgs        int
	Damaged     int           // records refused because they fail their checksum
	Revision    uint64        // the store's commits that the index has followed
	Age         time.Duration // since the store last proved that nothing is newer
}

// Stats returns figures of the index at this moment.
func (k *Keyring) Stats() Stats {
	s := k.index.Load().snapshot()
	k.mu.Lock()
	revision, proved := k.seen.Revision, k.proved
	k.mu.Unlock()
	stats := s.stats()
	stats.Revision, stats.Age = revision, time.Since(proved)
	return stats
}

// Fault is one thing that is wrong with a keyring which still answers.
type Fault struct {
	Reason string // one of FaultReasons
	Detail string // for the operator; never a secret

	// Note: requests are decided as ever, and somebody should look into it. No load
	// balancer should turn away.
	Note bool
}

// The reasons of faults.
const (
	FaultStore   = "store_unavailable"  // the store cannot be written
	FaultChange  = "last_change_failed" // it refused the last change, by a fault of its own
	FaultStale   = "index_stale"        // the index no longer hears from the store
	FaultDamaged = "damaged_records"    // some keys are refused because their records are damaged
	FaultTrail   = "trail_faulty"       // the trail of management actions is not as it was written
)

// FaultReasons lists every reason there is.
var FaultReasons = []string{FaultStore, FaultChange, FaultStale, FaultDamaged, FaultTrail}

// maxIndexAge is how long the store may be silent. It proves its freshness
// about once a second.
const maxIndexAge = 10 * time.Second

// failure is a commit that failed by a fault of the store.
type failure struct {
	at  time.Time
	err error
}

// note remembers how the last commit ended. Refusals of what a caller asked for
// say nothing about the store.
func (k *Keyring) note(err error) {
	switch {
	case err == nil:
		k.failed.Store(nil)
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrFull), errors.Is(err, ErrUncertain), errors.Is(err, ErrDamaged):
		k.failed.Store(&failure{k.clock.time(), err})
	}
}

// Health returns what is wrong now, nil if nothing is. It writes nothing, and
// is cheap enough to be asked every second. A Store with a method Health,
// which tells without writing whether it could be written, is asked too.
func (k *Keyring) Health() []Fault {
	var faults []Fault
	if store, ok := k.store.(interface{ Health() error }); ok {
		if err := store.Health(); err != nil {
			faults = append(faults, Fault{Reason: FaultStore, Detail: err.Error()})
		}
	}
	if f := k.failed.Load(); f != nil {
		faults = append(faults, Fault{Reason: FaultChange, Detail: fmt.Sprintf("at %s: %v. The next change that succeeds ends this", f.at.Format(time.RFC3339), f.err)})
	}
	stats := k.Stats()
	if stats.Age > maxIndexAge {
		faults = append(faults, Fault{Reason: FaultStale, Detail: fmt.Sprintf("the store was last heard of %s ago, so that changes made elsewhere are not in force here", stats.Age.Round(time.Second))})
	}
	if stats.Damaged > 0 {
		faults = append(faults, Fault{Reason: FaultDamaged, Detail: fmt.Sprintf("%d records fail their checksum, and their keys are refused. Restore a backup", stats.Damaged)})
	}
	if r := k.verified.Load(); r != nil && len(r.Faults) > 0 {
		faults = append(faults, Fault{Reason: FaultTrail, Detail: fmt.Sprintf("the trail of management actions is not as it was written, first at entry %d: %s. GET /api_keys/audit/verify tells all", r.Faults[0].Seq, r.Faults[0].What), Note: true})
	}
	return faults
}

// VerifyTrail verifies the trail of management actions. Health tells what was
// found last.
func (k *Keyring) VerifyTrail(ctx context.Context) (*audit.Report, error) {
	r, err := k.store.VerifyTrail(ctx)
	if err == nil {
		k.verified.Store(r)
	}
	return r, err
}
