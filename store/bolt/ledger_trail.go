package bolt

import (
	"context"
	"sync"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Bounds of what waits to be written.
const (
	maxOutcomes      = 1 << 16
	maxOutcomesBytes = 16 << 20
)

// AppendCalls implements audit.CallTrail.
func (l *Ledger) AppendCalls(ctx context.Context, drafts ...audit.Draft) (first uint64, err error) {
	if len(drafts) == 0 {
		return 0, &keyring.InvalidError{Field: "entries", Reason: "are none"}
	}
	entries, err := trailEntries(drafts)
	if err != nil {
		return 0, err
	}
	at := new(uint64) // the writer may set it after this has returned
	err = l.withRoom(ctx, roomForTrail, l.doOrLeave, func(tx *bbolt.Tx) error {
		*at = l.state.trail.Last + 1
		return l.appendTrail(tx, entries)
	})
	if err != nil {
		return 0, err
	}
	return *at, nil
}

// Outcome implements audit.CallTrail.
func (l *Ledger) Outcome(draft audit.Draft) bool {
	entries, err := trailEntries([]audit.Draft{draft})
	return err == nil && l.outcomes.add(entries[0])
}

// FlushOutcomes implements audit.CallTrail.
func (l *Ledger) FlushOutcomes(ctx context.Context) error {
	if len(l.outcomes.waiting()) == 0 {
		return nil
	}
	return l.do(ctx, func(*bbolt.Tx) error { return nil })
}

// openTrail lets the trail of l use its writer.
func (l *Ledger) openTrail() {
	l.trails = trails{
		of: &l.guarded, now: l.now,
		ends: func(tx *bbolt.Tx) (audit.Chain, error) {
			var s ledgerState
			err := s.decode(tx.Bucket(bucketMeta).Get(metaState))
			return s.trail, err
		},
		change: func(ctx context.Context, do func(*bbolt.Tx, *audit.Chain) error) error {
			return l.free(ctx, func(tx *bbolt.Tx) error { return do(tx, &l.state.trail) })
		},
	}
}

func (l *Ledger) appendTrail(tx *bbolt.Tx, entries []audit.Entry) error {
	return l.in(tx).append(&l.state.trail, entries)
}

// outcomes wait for the next commit.
type outcomes struct {
	mu    sync.Mutex
	list  []audit.Entry
	bytes int
}

func (o *outcomes) add(e audit.Entry) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	size := len(e.Payload) + len(e.Details)
	if len(o.list) >= maxOutcomes || o.bytes+size > maxOutcomesBytes {
		return false
	}
	o.list, o.bytes = append(o.list, e), o.bytes+size
	return true
}

// waiting returns those that wait, which stay until they are written.
func (o *outcomes) waiting() []audit.Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.list
}

// written forgets the first n.
func (o *outcomes) written(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.list[:n] {
		o.bytes -= len(e.Payload) + len(e.Details)
	}
	if o.list = o.list[n:]; len(o.list) == 0 {
		o.list = nil
	}
}
