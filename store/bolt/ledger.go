package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// defaultLedgerSize is the size in bytes that a ledger may reach unless said
// otherwise: when it is full, the oldest counters go.
const defaultLedgerSize = 4 << 30 >> (3 * (1 - strconv.IntSize/64)) // 4 GiB; 512 MiB on 32 bit

// LedgerOptions are the settings of a ledger; the zero value keeps nothing for
// long.
type LedgerOptions struct {
	Options
	Keep usage.Keep

	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Ledger is a usage.Store in a bbolt file of its own beside a Store: what is
// recorded must never fill, slow or damage what decides who is let in.
//
// Its pages are checked when it is opened, unless there are many and it was
// closed in order (ledger_check.go). Its records carry checksums, and a fault of
// the mapped file fails the ledger and never the process. A damaged one is not replaced by an empty one: what was
// recorded is evidence.
//
// # Layout
//
// Bucket "days" has a bucket for each day with its counters (ledger_rows.go);
// "routes" and "reasons" number what counters name; "last" has the use of each
// credential, "places" the places that a key was let in from, "scopes" the
// scopes that placeholders made it need, "calls" its last calls, "gaps" what may
// be missing, "trail" the calls that had to be recorded before they were served
// (ledger_trail.go). "meta" says what the file is and how far it is.
type Ledger struct {
	guarded
	trails

	jobs     chan *job
	freeing  chan *job             // those that make room
	outcomes outcomes              // of calls in the trail, that wait for the next commit
	most     int64                 // bytes that the file may have
	used     atomic.Int64          // bytes of it that are not free
	drops    atomic.Uint64         // days that were dropped for room
	trouble  atomic.Pointer[error] // why the last commit failed
	walks    sync.RWMutex          // read while somebody walks through the counters; written while they are moved
	keep     atomic.Pointer[usage.Keep]
	now      func() time.Time
	names    ledgerNames               // the writer's
	state    ledgerState               // what the last commit left; the writer's
	before   time.Time                 // when it was written last before it was opened, zero if it is new
	found    atomic.Pointer[usage.Gap] // a crash that was noticed when it was opened, not yet written
}

// OpenLedger opens the ledger in the file path, by the rules of Open, and
// creates it where there is none.
func OpenLedger(path string, opts LedgerOptions) (*Ledger, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.MaxSize == 0 {
		opts.MaxSize = defaultLedgerSize
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MaxSize < minMaxSize || int64(int(opts.MaxSize)) != opts.MaxSize {
		return nil, fmt.Errorf("store %s: max_size is %d bytes; set at least %d (1 MiB), and no more than this system can address", path, opts.MaxSize, minMaxSize)
	}
	k := ledgerKind(path, opts.Now)
	f, err := openFile(path, opts.Timeout, k)
	if err != nil {
		return nil, err
	}
	l, err := openLedger(path, f, k, opts)
	if err != nil {
		unlock(f)
		_ = f.Close()
		return nil, err
	}
	go l.write()
	_ = l.begun() // Health tells
	return l, nil
}

// ledgerKind says how a ledger is made, and what to do where it cannot be used.
// A backup of the store is never put in its place.
func ledgerKind(path string, now func() time.Time) *kind {
	const again = "Restart Caddy to begin a new one"
	return &kind{
		build: func(path string) error { return buildLedger(path, now()) },
		damaged: fmt.Sprintf("Keep it as evidence, and begin a new one: mv %s %s, then restart Caddy",
			quote(path), quote(path+".damaged")),
		empty:    fmt.Sprintf("To begin a new one: rm %s, then restart Caddy", quote(path)),
		gone:     again,
		replaced: "Restart Caddy to use the new one",
	}
}

func openLedger(path string, f *os.File, k *kind, opts LedgerOptions) (*Ledger, error) {
	l := &Ledger{jobs: make(chan *job), freeing: make(chan *job), now: opts.Now, most: opts.MaxSize}
	l.path, l.kind = path, k
	l.openTrail()
	l.SetKeep(opts.Keep)
	m, err := l.check(f)
	if err != nil {
		return nil, err
	}
	if err := l.open(path, f, k, m.size(), opts.Options); err != nil {
		return nil, err
	}
	l.db.AllocSize = int(min(maxAllocSize, opts.MaxSize/64))
	close(l.ended) // there is no writer yet
	if err := l.view(l.load); err != nil {
		_ = l.db.Close()
		return nil, err
	}
	l.ended = make(chan struct{})
	l.measure()
	if !l.state.added.Equal(l.state.created) {
		l.before = l.state.added
	}
	if !l.state.clean {
		l.found.Store(&usage.Gap{From: l.state.added, Until: opts.Now().UTC(), Why: usage.GapCrash})
	}
	return l, nil
}

// begun notes that the ledger is in use, and a crash before. If it cannot, the
// first batch does.
func (l *Ledger) begun() error {
	crash := l.found.Load()
	err := l.do(context.Background(), func(tx *bbolt.Tx) error { return l.use(tx, crash) })
	if err == nil {
		l.found.CompareAndSwap(crash, nil)
	}
	return err
}

// use marks the ledger as in use now.
func (l *Ledger) use(tx *bbolt.Tx, crash *usage.Gap) error {
	l.state.added, l.state.clean = l.now().UTC(), false
	if crash == nil {
		return nil
	}
	w := adder{l: l, tx: tx}
	return w.gaps([]usage.Gap{*crash})
}

// WrittenBefore returns when the ledger was written last before it was opened:
// later than now if the clock was set back meanwhile, zero for a new ledger.
func (l *Ledger) WrittenBefore() time.Time { return l.before }

// SetKeep sets how much is kept from now on.
func (l *Ledger) SetKeep(keep usage.Keep) { l.keep.Store(&keep) }

// Close implements usage.Store. Outcomes that wait are written.
func (l *Ledger) Close() error {
	clean := func(*bbolt.Tx) error {
		l.state.clean = true
		return nil
	}
	// A failure only means that the next start reports a gap which is none.
	if err := l.do(context.Background(), clean); errors.Is(err, keyring.ErrFull) {
		_ = l.free(context.Background(), clean)
	}
	return l.guarded.Close()
}

// Interface guard.
var _ usage.Store = (*Ledger)(nil)
