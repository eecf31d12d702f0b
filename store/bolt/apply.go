package bolt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	bbolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// maxGroup bounds the mutations that are gathered into one commit, so that one
// call's wait is bounded. A single call may have more.
const maxGroup = 4096

// call is one Apply on its way through the writer.
type call struct {
	mutations []keyring.Mutation
	entries   []audit.Entry      // without their places
	chore     func(*group) error // in place of both: something else to write
	err       error              // set when it was refused
	cursor    keyring.Cursor     // set when it was committed
	done      chan struct{}
}

// Apply implements keyring.Store. Calls that are waiting while another one is
// committed go into one transaction together and get the same cursor; each is
// checked in full, against its neighbours too, before it writes anything, so
// that one that fails leaves no trace and does not fail the others.
//
// ctx counts until the writer takes the call; from then on the result is
// waited for, since to give up would leave the outcome unknown.
func (s *Store) Apply(ctx context.Context, mutations []keyring.Mutation, entries []audit.Draft) (keyring.Cursor, error) {
	var none keyring.Cursor
	for i := range mutations {
		if err := validate(&mutations[i]); err != nil {
			return none, err
		}
	}
	if len(mutations) > 0 && len(entries) == 0 {
		return none, &keyring.InvalidError{Field: "entries", Reason: "are none; say what is done, and by whom"}
	}
	placeless, err := trailEntries(entries)
	if err != nil {
		return none, err
	}
	c := &call{mutations: mutations, entries: placeless, done: make(chan struct{})}
	if err := s.send(ctx, s.calls, c); err != nil {
		return none, err
	}
	return c.cursor, nil
}

// send has the writer make a call.
func (s *Store) send(ctx context.Context, to chan<- *call, c *call) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(c.entries) == 0 && c.chore == nil {
		c.cursor, _ = s.recent.state()
		return nil
	}
	select {
	case to <- c:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return fmt.Errorf("store %s: %w", s.path, keyring.ErrClosed)
	case <-s.broken:
		return s.failure()
	}
	select {
	case <-c.done:
		return c.err
	case <-s.broken:
	}
	// The writer answers now, unless the fault left it stuck inside bbolt.
	select {
	case <-c.done:
		return c.err
	case <-time.After(defaultTimeout):
		return fmt.Errorf("%w: %w", keyring.ErrUncertain, s.failure())
	}
}

// openTrail lets the trail of s use its writer.
func (s *Store) openTrail() {
	s.trails = trails{
		of: &s.guarded, now: time.Now,
		ends: func(tx *bbolt.Tx) (audit.Chain, error) {
			var h head
			err := h.decode(tx.Bucket(bucketMeta).Get(metaState))
			return h.trail, err
		},
		change: func(ctx context.Context, do func(*bbolt.Tx, *audit.Chain) error) error {
			chore := func(g *group) error { return do(g.tx, &g.head.trail) }
			return s.send(ctx, s.chores, &call{chore: chore, done: make(chan struct{})})
		},
	}
}

// write is the writer: the only goroutine that changes the file.
func (s *Store) write() {
	defer close(s.ended)
	for {
		select {
		case <-s.closing:
			return
		case c := <-s.calls:
			s.commit(s.gather(c))
		case c := <-s.chores:
			s.commit([]*call{c})
		}
	}
}

// gather takes the calls that are waiting already. It never waits for more.
func (s *Store) gather(first *call) []*call {
	calls, n := []*call{first}, len(first.mutations)+len(first.entries)
	for n < maxGroup {
		select {
		case c := <-s.calls:
			calls, n = append(calls, c), n+len(c.mutations)+len(c.entries)
		default:
			return calls
		}
	}
	return calls
}

// commit answers every call. Where the commit fails, so do the calls that were
// refused: it may have been for what a neighbour was about to write.
func (s *Store) commit(calls []*call) {
	err := s.tryCommit(calls)
	if errors.Is(err, keyring.ErrFull) && len(calls) > 1 {
		// One of them may be too large; the others must not suffer for it.
		for _, c := range calls {
			s.commit([]*call{c})
		}
		return
	}
	for _, c := range calls {
		if err != nil {
			c.err = err
		}
		close(c.done)
	}
}

// tryCommit commits the calls that are in order and sets their cursor; it sets
// the error of the others. An error of its own is for all the rest.
func (s *Store) tryCommit(calls []*call) error {
	if err := s.checkWritable(); err != nil {
		return err
	}
	tx, err := s.begin(true)
	if err != nil {
		return err
	}
	defer s.end(tx) // a no-op once committed

	g := newGroup(tx, s.head)
	accepted := 0
	err = s.guard(func() error {
		for _, c := range calls {
			if c.chore != nil {
				c.err = c.chore(g)
				if c.err != nil {
					return c.err // what it wrote must not stay
				}
			} else {
				c.err = g.add(c.mutations, c.entries)
			}
			if c.err == nil {
				accepted++
			}
		}
		if accepted == 0 {
			return nil
		}
		g.head.cursor.Revision++
		_, _ = rand.Read(g.head.cursor.Mark[:])
		return g.put(s.in(tx))
	})
	if err != nil {
		return fmt.Errorf("%w: store %s: %w", keyring.ErrUnavailable, s.path, err)
	}
	if accepted == 0 {
		return nil
	}
	id := tx.ID()
	if err := s.guard(tx.Commit); err != nil {
		return s.commitError(err, id, g)
	}
	s.publish(g)
	for _, c := range calls {
		if c.err == nil {
			c.cursor = g.head.cursor
		}
	}
	return nil
}

// publish makes the commit of g known to the next one and to watchers.
func (s *Store) publish(g *group) {
	s.head = g.head
	if m, err := newestMeta(s.file); err == nil {
		s.size.Store(m.size())
	}
	s.recent.add(g.head.cursor, g.records)
}

// commitError says what a failed commit means. A disk that is full is found
// while pages are written that nothing refers to yet: nothing has changed, and
// the next commit may succeed. Anything else, a failed sync above all, leaves
// open what is on the disk: the kernel may have dropped the pages and would
// report success for the next sync. Then nothing is written until the store is
// opened anew, which checks the file. Where readers of this process see the
// commit already, watchers are told of it as well.
func (s *Store) commitError(err error, tx int, g *group) error {
	m, unread := newestMeta(s.file)
	reached := unread == nil && m.txid >= uint64(tx)
	if isFull(err) && s.failure() == nil && unread == nil && !reached {
		return fmt.Errorf("%w: store %s: %w", keyring.ErrFull, s.path, err)
	}
	if reached {
		s.publish(g)
	}
	stop := fmt.Errorf("%w: store %s: an earlier write failed (%w), so the disk may not hold what it should. "+
		"Check the disk, then restart Caddy: the file is checked when it is opened", keyring.ErrUnavailable, s.path, err)
	s.readOnly.CompareAndSwap(nil, &stop)
	return fmt.Errorf("%w: store %s: %w", keyring.ErrUncertain, s.path, err)
}

// isFull tells a full disk, quota or size limit. bbolt flattens some of its
// errors to text. A sync that failed is none of these, whatever its reason.
func isFull(err error) bool {
	if errors.Is(err, berrors.ErrMaxSizeReached) {
		return true
	}
	var op *fs.PathError
	if errors.As(err, &op) && op.Op == "sync" {
		return false
	}
	var sys syscall.Errno
	resize := strings.Contains(err.Error(), "file resize error")
	for _, full := range fullErrnos {
		if op != nil && errors.As(op.Err, &sys) && sys == full || resize && strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}
