package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
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
// It is not checked page by page when it is opened, as it may be large. Its
// records carry checksums, and a fault of the mapped file fails the ledger and
// never the process. A damaged one is not replaced by an empty one: what was
// recorded is evidence.
//
// # Layout
//
// Bucket "days" has a bucket for each day with its counters (ledger_rows.go);
// "routes" and "reasons" number what counters name; "last" has the use of each
// credential, "places" the places that a key was let in from, "scopes" the
// scopes that placeholders made it need, "calls" its last calls, "gaps" what may
// be missing. "meta" says what the file is and how far it is.
type Ledger struct {
	guarded

	jobs  chan *job
	keep  atomic.Pointer[usage.Keep]
	now   func() time.Time
	names ledgerNames               // the writer's
	state ledgerState               // what the last commit left; the writer's
	found atomic.Pointer[usage.Gap] // a crash that was noticed when it was opened, not yet written
}

// job is something to be written.
type job struct {
	do   func(*bbolt.Tx) error
	done chan error
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
	f, err := openFile(path, opts.Timeout, func(path string) error { return buildLedger(path, opts.Now()) })
	if err != nil {
		return nil, err
	}
	l, err := openLedger(path, f, opts)
	if err != nil {
		unlock(f)
		_ = f.Close()
		return nil, err
	}
	go l.write()
	return l, nil
}

func openLedger(path string, f *os.File, opts LedgerOptions) (*Ledger, error) {
	l := &Ledger{jobs: make(chan *job), now: opts.Now}
	l.cure = fmt.Sprintf("Keep it as evidence, and begin a new one: mv %s %s, then reload Caddy", quote(path), quote(path+".damaged"))
	l.path = path
	l.SetKeep(opts.Keep)
	m, err := newestMeta(f)
	if isReadError(err) {
		return nil, readError(path, err)
	}
	if err != nil {
		return nil, l.damaged("it is no database any more (%v)", err)
	}
	if st, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	} else if st.Size() < m.size() {
		return nil, l.damaged("truncated: it has %d of %d bytes", st.Size(), m.size())
	}
	if err := l.open(path, f, m.size(), opts.Options); err != nil {
		return nil, err
	}
	close(l.ended) // there is no writer yet
	if err := l.view(l.load); err != nil {
		_ = l.db.Close()
		return nil, err
	}
	l.ended = make(chan struct{})
	if !l.state.clean {
		l.found.Store(&usage.Gap{From: l.state.added, Until: opts.Now().UTC(), Why: usage.GapCrash})
	}
	return l, nil
}

// SetKeep sets how much is kept from now on.
func (l *Ledger) SetKeep(keep usage.Keep) { l.keep.Store(&keep) }

// write is the writer: the only goroutine that changes the file.
func (l *Ledger) write() {
	defer close(l.ended)
	for {
		select {
		case <-l.closing:
			return
		case j := <-l.jobs:
			l.commit(j)
		}
	}
}

// commit does the jobs that are waiting in one transaction, so that they share
// one sync. If one of them fails, each is tried by itself.
func (l *Ledger) commit(first *job) {
	group := []*job{first}
	for more := true; more && len(group) < maxGroup; {
		select {
		case j := <-l.jobs:
			group = append(group, j)
		default:
			more = false
		}
	}
	err := l.tryCommit(group)
	if err != nil && len(group) > 1 && !errors.Is(err, keyring.ErrUncertain) {
		for _, j := range group {
			j.done <- l.tryCommit([]*job{j})
		}
		return
	}
	for _, j := range group {
		j.done <- err
	}
}

func (l *Ledger) tryCommit(group []*job) (err error) {
	if err := l.checkWritable(); err != nil {
		return err
	}
	state, names := l.state, l.names.mark()
	defer func() {
		if err != nil {
			l.state = state
			l.names.reset(names)
		}
	}()
	tx, err := l.begin(true)
	if err != nil {
		return err
	}
	defer l.end(tx)
	err = l.guard(func() error {
		for _, j := range group {
			if err := j.do(tx); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(metaState, l.state.encode())
	})
	if err != nil {
		if isFull(err) {
			return fmt.Errorf("%w: store %s: %w", keyring.ErrFull, l.path, err)
		}
		return fmt.Errorf("%w: store %s: %w", keyring.ErrUnavailable, l.path, err)
	}
	id := tx.ID()
	if err := l.guard(tx.Commit); err != nil {
		return l.commitError(err, id)
	}
	if m, err := newestMeta(l.file); err == nil {
		l.size.Store(m.size())
	}
	return nil
}

// commitError says what a failed commit means, see Store.commitError. Whoever
// repeats a batch is safe in any case: its ID tells whether it was added.
func (l *Ledger) commitError(err error, tx int) error {
	m, unread := newestMeta(l.file)
	reached := unread == nil && m.txid >= uint64(tx)
	if isFull(err) && l.failure() == nil && unread == nil && !reached {
		return fmt.Errorf("%w: store %s: %w", keyring.ErrFull, l.path, err)
	}
	stop := fmt.Errorf("%w: store %s: an earlier write failed (%w), so the disk may not hold what it should. "+
		"Check the disk, then restart Caddy", keyring.ErrUnavailable, l.path, err)
	l.readOnly.CompareAndSwap(nil, &stop)
	return fmt.Errorf("%w: store %s: %w", keyring.ErrUncertain, l.path, err)
}

// do has the writer do something. ctx counts until it is taken.
func (l *Ledger) do(ctx context.Context, fn func(*bbolt.Tx) error) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	j := &job{fn, make(chan error, 1)}
	select {
	case l.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.closing:
		return fmt.Errorf("store %s: %w", l.path, keyring.ErrClosed)
	case <-l.broken:
		return l.failure()
	}
	select {
	case err := <-j.done:
		return err
	case <-l.broken:
	}
	select {
	case err := <-j.done:
		return err
	case <-time.After(defaultTimeout):
		return fmt.Errorf("%w: %w", keyring.ErrUncertain, l.failure())
	}
}

// Close implements usage.Store.
func (l *Ledger) Close() error {
	// A failure only means that the next start reports a gap which is none.
	_ = l.do(context.Background(), func(*bbolt.Tx) error {
		l.state.clean = true
		return nil
	})
	return l.guarded.Close()
}

// Interface guard.
var _ usage.Store = (*Ledger)(nil)
