package bolt

import (
	"context"
	"fmt"
	"sync"
	"time"

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

// trailEntries does what can be done while others use the writer.
func trailEntries(drafts []audit.Draft) ([]audit.Entry, error) {
	if len(drafts) > audit.MaxAppend {
		return nil, &keyring.InvalidError{Field: "entries", Reason: fmt.Sprintf("are %d; want up to %d", len(drafts), audit.MaxAppend)}
	}
	entries := make([]audit.Entry, len(drafts))
	for i := range drafts {
		if err := drafts[i].Check(); err != nil {
			return nil, &keyring.InvalidError{Field: "entry", Reason: err.Error()}
		}
		entries[i] = audit.NewEntry(drafts[i])
	}
	return entries, nil
}

func (l *Ledger) trailIn(tx *bbolt.Tx) *trail {
	return &trail{bucket: tx.Bucket(bucketTrail), damaged: l.damaged}
}

func (l *Ledger) appendTrail(tx *bbolt.Tx, entries []audit.Entry) error {
	_, err := l.trailIn(tx).append(&l.state.trail, entries)
	return err
}

// Trail implements audit.Trail.
func (l *Ledger) Trail(ctx context.Context, after uint64, fn func(*audit.Entry) bool) error {
	return l.walk(ctx, after, (*trail).after, fn)
}

// TrailBack implements audit.Trail.
func (l *Ledger) TrailBack(ctx context.Context, before uint64, fn func(*audit.Entry) bool) error {
	return l.walk(ctx, before, (*trail).before, fn)
}

func (l *Ledger) walk(ctx context.Context, from uint64, next func(*trail, uint64) ([]audit.Entry, error), fn func(*audit.Entry) bool) error {
	damaged, err := walkTrail(ctx, from, func(from uint64) (slice []audit.Entry, err error) {
		err = l.view(func(tx *bbolt.Tx) error {
			slice, err = next(l.trailIn(tx), from)
			return err
		})
		return slice, err
	}, fn)
	if err == nil && damaged > 0 {
		err = l.damaged("%d entries of the trail are damaged", damaged)
	}
	return err
}

// VerifyTrail implements audit.Trail.
func (l *Ledger) VerifyTrail(ctx context.Context) (*audit.Report, error) {
	return audit.Verify(ctx, func(after uint64) (slice []audit.Entry, chain audit.Chain, err error) {
		err = l.view(func(tx *bbolt.Tx) error {
			var s ledgerState
			if err := s.decode(tx.Bucket(bucketMeta).Get(metaState)); err != nil {
				return l.damaged("state record: %v", err)
			}
			chain = s.trail
			slice, err = l.trailIn(tx).after(after)
			return err
		})
		return slice, chain, err
	})
}

// PurgeTrail implements audit.Trail.
func (l *Ledger) PurgeTrail(ctx context.Context, before time.Time) error {
	for more := true; more; {
		err := l.free(ctx, func(tx *bbolt.Tx) (err error) {
			more, err = l.trailIn(tx).purge(&l.state.trail, before, l.now())
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// EraseTrail implements audit.Trail.
func (l *Ledger) EraseTrail(ctx context.Context, match func(*audit.Entry) bool) error {
	return eraseSome(ctx, l, match, func(numbers []uint64) error {
		return l.free(ctx, func(tx *bbolt.Tx) error { return l.trailIn(tx).erase(numbers) })
	})
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
