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

	berrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// maxGroup bounds the mutations that are gathered into one commit, so that one
// call's wait is bounded. A single call may have more.
const maxGroup = 4096

// call is one Apply on its way through the writer.
type call struct {
	mutations []keyring.Mutation
	err       error          // set when it was refused
	cursor    keyring.Cursor // set when it was committed
	done      chan struct{}
}

// Apply implements keyring.Store. Calls that are waiting while another one is
// committed go into one transaction together and get the same cursor; each is
// checked in full, against its neighbours too, before it writes anything, so
// that one that fails leaves no trace and does not fail the others.
//
// ctx counts until the writer takes the call; from then on the result is
// waited for, since to give up would leave the outcome unknown.
func (s *Store) Apply(ctx context.Context, mutations []keyring.Mutation) (keyring.Cursor, error) {
	if err := s.enter(); err != nil {
		return keyring.Cursor{}, err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return keyring.Cursor{}, err
	}
	for i := range mutations {
		if err := validate(&mutations[i]); err != nil {
			return keyring.Cursor{}, err
		}
	}
	if len(mutations) == 0 {
		cursor, _ := s.recent.state()
		return cursor, nil
	}
	c := &call{mutations: mutations, done: make(chan struct{})}
	select {
	case s.calls <- c:
	case <-ctx.Done():
		return keyring.Cursor{}, ctx.Err()
	case <-s.closing:
		return keyring.Cursor{}, fmt.Errorf("store %s: %w", s.path, keyring.ErrClosed)
	case <-s.broken:
		return keyring.Cursor{}, s.failure()
	}
	select {
	case <-c.done:
		return c.cursor, c.err
	case <-s.broken:
	}
	// The writer answers now, unless the fault left it stuck inside bbolt.
	select {
	case <-c.done:
		return c.cursor, c.err
	case <-time.After(defaultTimeout):
		return keyring.Cursor{}, fmt.Errorf("%w: %w", keyring.ErrUncertain, s.failure())
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
		}
	}
}

// gather takes the calls that are waiting already. It never waits for more.
func (s *Store) gather(first *call) []*call {
	calls, n := []*call{first}, len(first.mutations)
	for n < maxGroup {
		select {
		case c := <-s.calls:
			calls, n = append(calls, c), n+len(c.mutations)
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
	err = s.guard(func() error {
		accepted := 0
		for _, c := range calls {
			if c.err = g.add(c.mutations); c.err == nil {
				accepted++
			}
		}
		if accepted == 0 {
			return nil
		}
		g.head.cursor.Revision++
		_, _ = rand.Read(g.head.cursor.Mark[:])
		return g.put()
	})
	if err != nil {
		return fmt.Errorf("%w: store %s: %w", keyring.ErrUnavailable, s.path, err)
	}
	if len(g.records) == 0 {
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
