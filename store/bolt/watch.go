package bolt

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// What is kept of the last commits for watchers. One that falls further behind
// takes a new snapshot, which costs about a microsecond a key.
const (
	maxRecent      = 1024     // commits
	maxRecentBytes = 64 << 20 // of encoded records
)

// heartbeat is how often a watcher hears that nothing is newer. The store is
// the file's only writer, so that this needs no look at the file.
const heartbeat = time.Second

// commit is what one commit left behind, still encoded: each watcher gets
// values of its own, exactly as a snapshot would have them.
type commit struct {
	cursor  keyring.Cursor
	records map[name]pending
	bytes   int
}

// recent keeps the last commits in memory. Their revisions have no gap.
type recent struct {
	mu      sync.Mutex
	base    keyring.Cursor // before the first of commits
	commits []commit
	bytes   int
	changed chan struct{} // closed and replaced by each commit
}

func (r *recent) start(at keyring.Cursor) {
	r.base, r.changed = at, make(chan struct{})
}

// state returns the last commit's cursor, and a channel that is closed with
// the next one.
func (r *recent) state() (keyring.Cursor, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest(), r.changed
}

func (r *recent) latest() keyring.Cursor {
	if n := len(r.commits); n > 0 {
		return r.commits[n-1].cursor
	}
	return r.base
}

func (r *recent) add(at keyring.Cursor, records map[name]pending) {
	c := commit{cursor: at, records: records}
	for n, p := range records {
		c.bytes += len(n.id) + len(p.value)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commits = append(r.commits, c)
	r.bytes += c.bytes
	// The newest one stays, however large, or a watcher that has all but it
	// would have to start over.
	for len(r.commits) > maxRecent || r.bytes > maxRecentBytes && len(r.commits) > 1 {
		r.base = r.commits[0].cursor
		r.bytes -= r.commits[0].bytes
		r.commits[0] = commit{}
		r.commits = r.commits[1:]
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// since returns the commits after from, and a channel that is closed with the
// next one.
func (r *recent) since(from keyring.Cursor) ([]commit, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from.Revision > r.latest().Revision {
		return nil, nil, fmt.Errorf("%w: it ends at revision %d, the cursor is at %d", keyring.ErrForked, r.latest().Revision, from.Revision)
	}
	if from.Revision < r.base.Revision {
		return nil, nil, fmt.Errorf("%w: revision %d, kept since %d", keyring.ErrBehind, from.Revision, r.base.Revision)
	}
	at, n := r.base, from.Revision-r.base.Revision
	if n > 0 {
		at = r.commits[n-1].cursor
	}
	if at.Mark != from.Mark {
		return nil, nil, fmt.Errorf("%w: revision %d was another one", keyring.ErrForked, from.Revision)
	}
	return slices.Clone(r.commits[n:]), r.changed, nil // a copy: add forgets old ones in place
}

// Watch implements keyring.Store. It reads memory only, and so goes on where
// the file has become unreadable.
func (s *Store) Watch(ctx context.Context, from keyring.Cursor, fn func(keyring.Batch) error) error {
	if err := s.interruptedWatch(ctx); err != nil {
		return err
	}
	commits, changed, err := s.recent.since(from)
	if err != nil {
		return fmt.Errorf("store %s: %w", s.path, err)
	}
	if err := fn(keyring.Batch{Cursor: from}); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	var d decoder
	for {
		for _, c := range commits {
			if err := s.interruptedWatch(ctx); err != nil {
				return err
			}
			if err := fn(c.batch(&d)); err != nil {
				return err
			}
			from = c.cursor
		}
		select {
		case <-changed:
		case <-beat.C:
			if len(commits) == 0 {
				if err := fn(keyring.Batch{Cursor: from}); err != nil {
					return err
				}
			}
		case <-ctx.Done():
		case <-s.closing:
		}
		if err := s.interruptedWatch(ctx); err != nil {
			return err
		}
		if commits, changed, err = s.recent.since(from); err != nil {
			return fmt.Errorf("store %s: %w", s.path, err)
		}
	}
}

func (s *Store) interruptedWatch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return fmt.Errorf("store %s: %w", s.path, keyring.ErrClosed)
	default:
		return nil
	}
}

func (c *commit) batch(d *decoder) keyring.Batch {
	b := keyring.Batch{Cursor: c.cursor, Records: make([]keyring.Record, 0, len(c.records))}
	for n, p := range c.records {
		b.Records = append(b.Records, d.record(n.bucket(), []byte(n.id), p.value))
	}
	return b
}
