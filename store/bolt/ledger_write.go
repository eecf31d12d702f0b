package bolt

import (
	"context"
	"errors"
	"fmt"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// job is something to be written.
type job struct {
	do   func(*bbolt.Tx) error
	done chan error
}

// do has the writer do something. ctx counts until it is taken. fn may be
// called again after a transaction that failed, and then begins anew.
func (l *Ledger) do(ctx context.Context, fn func(*bbolt.Tx) error) error {
	return l.send(ctx, l.jobs, fn, nil)
}

// doOrLeave is do for callers who return when ctx ends, whatever becomes of fn,
// which may be called later still.
func (l *Ledger) doOrLeave(ctx context.Context, fn func(*bbolt.Tx) error) error {
	return l.send(ctx, l.jobs, fn, ctx.Done())
}

// free is do for what makes room: it may use what is left for that.
func (l *Ledger) free(ctx context.Context, fn func(*bbolt.Tx) error) error {
	return l.send(ctx, l.freeing, fn, nil)
}

// send returns when fn is done, or when leave says so.
func (l *Ledger) send(ctx context.Context, jobs chan<- *job, fn func(*bbolt.Tx) error, leave <-chan struct{}) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{fn, make(chan error, 1)}
	select {
	case jobs <- j:
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
	case <-leave:
		return fmt.Errorf("%w: store %s: the disk did not take it in time: %w", keyring.ErrUncertain, l.path, ctx.Err())
	case <-l.broken:
	}
	// The writer answers now, unless the fault left it stuck inside bbolt.
	select {
	case err := <-j.done:
		return err
	case <-time.After(defaultTimeout):
		return fmt.Errorf("%w: %w", keyring.ErrUncertain, l.failure())
	}
}

// write is the writer: the only goroutine that changes the file.
func (l *Ledger) write() {
	defer close(l.ended)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-l.closing:
			return
		case j := <-l.jobs:
			l.commit(j)
		case j := <-l.freeing:
			j.done <- l.tryCommit([]*job{j}, l.most)
		case <-beat.C:
			// What failed is over when a write succeeds, though nobody asks for one.
			if l.trouble.Load() != nil || len(l.outcomes.waiting()) > 0 {
				_ = l.tryCommit(nil, l.most/32*roomForAll)
			}
		}
	}
}

// commit does the jobs that are waiting in one transaction, so that they share
// one sync. It never waits for more. If one of them fails, each is tried by
// itself.
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
	err := l.tryCommit(group, l.most/32*roomForAll)
	if err != nil && len(group) > 1 && !errors.Is(err, keyring.ErrUncertain) {
		for _, j := range group {
			j.done <- l.tryCommit([]*job{j}, l.most/32*roomForAll)
		}
		return
	}
	for _, j := range group {
		j.done <- err
	}
}

// tryCommit does jobs in one transaction, after which the file has at most limit
// bytes.
func (l *Ledger) tryCommit(group []*job, limit int64) error {
	state, names := l.state, l.names.mark()
	err := l.transact(group, limit)
	if err == nil {
		l.trouble.Store(nil)
		return nil
	}
	l.state = state
	l.names.reset(names)
	if errors.Is(err, keyring.ErrDamaged) {
		// What is there is evidence: nothing is written over it or beside it.
		l.readOnly.CompareAndSwap(nil, &err)
	}
	if !isInvalid(err) {
		l.trouble.Store(&err)
	}
	return err
}

// isInvalid tells what is wrong with a job from what is wrong with the ledger.
func isInvalid(err error) bool {
	var invalid *keyring.InvalidError
	return errors.As(err, &invalid)
}

func (l *Ledger) transact(group []*job, limit int64) error {
	if err := l.checkWritable(); err != nil {
		return err
	}
	tx, err := l.begin(true)
	if err != nil {
		return err
	}
	defer l.end(tx)           // a no-op once committed
	l.db.MaxSize = int(limit) // only the writer uses it
	var outcomes []audit.Entry
	if limit < l.most && l.used.Load() <= l.most/32*roomForOutcomes {
		outcomes = l.outcomes.waiting()
	}
	err = l.guard(func() error {
		for _, j := range group {
			if err := j.do(tx); err != nil {
				return err
			}
		}
		if err := l.appendTrail(tx, outcomes); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(metaState, l.state.encode())
	})
	switch {
	case err == nil:
	case isInvalid(err):
		return err
	case isFull(err), errors.Is(err, keyring.ErrFull):
		return fmt.Errorf("%w: store %s: %w", keyring.ErrFull, l.path, err)
	default:
		return fmt.Errorf("%w: store %s: %w", keyring.ErrUnavailable, l.path, err)
	}
	id := tx.ID()
	if err := l.guard(tx.Commit); err != nil {
		return l.commitError(err, id)
	}
	l.outcomes.written(len(outcomes))
	l.measure()
	return nil
}

// measure notes how large the file must be, and how much of it is in use.
func (l *Ledger) measure() {
	m, err := newestMeta(l.file)
	if err != nil {
		return // as it was, until the next commit
	}
	l.size.Store(m.size())
	if free, err := m.free(l.file); err == nil {
		l.used.Store(m.size() - int64(free)*int64(m.pageSize))
	}
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

// Health says whether the ledger could be written lately, and could be now as
// far as can be told without writing: nil, or an error that wraps a sentinel of
// package keyring.
func (l *Ledger) Health() error {
	if err := l.guarded.Health(); err != nil {
		return err
	}
	if p := l.trouble.Load(); p != nil {
		return *p
	}
	return l.checkRoom(roomForTrail)
}
