package bolt

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Bounds of the trail.
const (
	maxTrailEntry    = 64 << 10 // bytes of an entry's payload and details
	maxOutcomes      = 1 << 16  // that wait to be written
	maxOutcomesBytes = 16 << 20
	maxAppend        = 1024 // entries of one call
)

// TrailDraft is an entry of the trail of calls before it has its place there.
type TrailDraft struct {
	Time    time.Time
	Payload []byte // a JSON document, kept byte for byte
	Details []byte // what can be erased later: addresses, paths and the like
}

func (d *TrailDraft) check() error {
	if len(d.Payload) == 0 || len(d.Payload)+len(d.Details) > maxTrailEntry {
		return &keyring.InvalidError{Field: "entry", Reason: fmt.Sprintf("has %d bytes; want 1 to %d", len(d.Payload)+len(d.Details), maxTrailEntry)}
	}
	return nil
}

// trailState says where the trail begins and ends.
type trailState struct {
	purged     uint64   // the last entry that was purged
	purgedHash [32]byte // what the first one that is there follows
	last       uint64
	lastHash   [32]byte
}

// AppendCalls appends entries to the trail, one after the other, and returns the
// number of the first when they are on the disk. Calls that are waiting while
// others are written share one sync. Unless it returns nil, what the entries are
// about must not happen; after ErrUncertain they may be there nevertheless.
func (l *Ledger) AppendCalls(ctx context.Context, drafts ...TrailDraft) (first uint64, err error) {
	if len(drafts) == 0 || len(drafts) > maxAppend {
		return 0, &keyring.InvalidError{Field: "entries", Reason: fmt.Sprintf("are %d; want 1 to %d", len(drafts), maxAppend)}
	}
	entries, err := trailEntries(drafts)
	if err != nil {
		return 0, err
	}
	err = l.withRoom(ctx, roomForTrail, func(tx *bbolt.Tx) error {
		first = l.state.trail.last + 1
		return l.appendTrail(tx, entries)
	})
	if err != nil {
		return 0, err
	}
	return first, nil
}

// Outcome appends an entry soon, without waiting: with the next commit, or
// within a second. It reports whether there was room for it to wait.
func (l *Ledger) Outcome(draft TrailDraft) bool {
	entries, err := trailEntries([]TrailDraft{draft})
	return err == nil && l.outcomes.add(entries[0])
}

// trailEntries does what can be done while others use the writer.
func trailEntries(drafts []TrailDraft) ([]TrailEntry, error) {
	entries := make([]TrailEntry, len(drafts))
	for i := range drafts {
		d := &drafts[i]
		if err := d.check(); err != nil {
			return nil, err
		}
		e := &entries[i]
		e.Time, e.Payload, e.Details = d.Time, d.Payload, d.Details
		if len(d.Details) > 0 {
			_, _ = rand.Read(e.salt[:])
			e.commitment = commitTo(e.salt, d.Details)
		}
	}
	return entries, nil
}

// appendTrail gives entries their place.
func (l *Ledger) appendTrail(tx *bbolt.Tx, entries []TrailEntry) error {
	bucket := tx.Bucket(bucketTrail)
	bucket.FillPercent = packed
	t := &l.state.trail
	for i := range entries {
		e := entries[i] // a copy: this may be done again
		e.Seq, e.Prev = t.last+1, t.lastHash
		e.Hash = e.chain()
		k := trailKey(e.Seq)
		if bucket.Get(k) != nil {
			return l.damaged("the trail goes on behind its end at %d", t.last)
		}
		if err := bucket.Put(k, seal(bucketTrail, k, e.encode())); err != nil {
			return err
		}
		t.last, t.lastHash = e.Seq, e.Hash
	}
	return nil
}

func trailKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// outcomes wait for the next commit.
type outcomes struct {
	mu    sync.Mutex
	list  []TrailEntry
	bytes int
}

func (o *outcomes) add(e TrailEntry) bool {
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
func (o *outcomes) waiting() []TrailEntry {
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
