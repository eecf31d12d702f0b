// Package audit is the trail: entries that are numbered without a gap and
// chained by hashes, so that a change, a removal or a gap shows and where.
//
// There are two trails of the same form: that of management actions, whose
// entries are committed together with what they tell of, and that of the calls
// that had to be recorded before they were served. Stores keep the entries;
// what an entry is, how it is chained, and what is wrong with a chain is here.
//
// Whoever can write to the file can forge a whole chain. Against that, keep the
// hash of the last entry elsewhere from time to time.
//
// Read action.go and call.go for what entries tell, entry.go and chain.go for
// their form, verify.go for how a chain is checked. Nothing here writes a file.
package audit

import (
	"context"
	"fmt"
	"time"
)

// Bounds of what is appended.
const (
	MaxEntry  = 256 << 10 // bytes of an entry's payload and details
	MaxAppend = 1024      // entries at once
)

// Draft is an entry before it has its place in a trail.
type Draft struct {
	Time    time.Time // kept in milliseconds
	Payload []byte    // a JSON object, kept byte for byte
	Details []byte    // a JSON object, or none: what can be erased later, such as addresses, paths and names
}

// Check says what is wrong with a draft.
func (d *Draft) Check() error {
	if size := len(d.Payload) + len(d.Details); len(d.Payload) == 0 || size > MaxEntry {
		return fmt.Errorf("has %d bytes; want 1 to %d", size, MaxEntry)
	}
	return nil
}

// Trail reads and keeps a trail. All methods are safe for concurrent use; errors
// wrap the sentinels of package keyring.
type Trail interface {
	// Trail calls fn with the entries after a number, in order, until fn returns
	// false. It holds no lock while fn runs. Damaged entries are left out, and
	// told as an error at the end. Prev is not set.
	Trail(ctx context.Context, after uint64, fn func(*Entry) bool) error

	// TrailBack is Trail the other way: the entries before a number, newest
	// first; 0 begins with the last one.
	TrailBack(ctx context.Context, before uint64, fn func(*Entry) bool) error

	// SearchTrail is TrailBack for the entries that search selects. It returns the
	// number before which to go on: where fn returned false, or search.Most
	// entries were looked at. It is 0 at the end, and after an error that
	// prevents going on.
	SearchTrail(ctx context.Context, search Search, fn func(*Entry) bool) (next uint64, err error)

	// VerifyTrail checks every entry, as they are when the call begins, and that
	// none is missing.
	VerifyTrail(ctx context.Context) (*Report, error)

	// PurgeTrail removes the entries at the beginning that are older than a
	// time, in short steps. An entry tells of each step, so that what is left
	// can still be verified.
	PurgeTrail(ctx context.Context, before time.Time) error

	// EraseTrail erases the details of the entries that match chooses, and
	// leaves the entries.
	EraseTrail(ctx context.Context, match func(*Entry) bool) error
}

// CallTrail is the trail of calls.
type CallTrail interface {
	Trail

	// AppendCalls appends entries, one after the other, and returns the number
	// of the first when they are on the disk. Calls that are waiting while
	// others are written share one sync. Unless it returns nil, what the entries
	// are about must not happen; after ErrUncertain they may be there
	// nevertheless. It returns when ctx ends, also from a disk that stalls.
	AppendCalls(ctx context.Context, drafts ...Draft) (first uint64, err error)

	// Outcome appends an entry soon, without waiting: with the next commit, or
	// within a second. It reports whether there was room for it to wait.
	Outcome(draft Draft) bool

	// FlushOutcomes returns when the outcomes that wait are on the disk.
	FlushOutcomes(ctx context.Context) error
}
