package keyring

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// Keyring verifies credentials and changes keys. It is safe for concurrent use.
type Keyring struct {
	store  Store
	random io.Reader
	clock  clock

	index atomic.Pointer[index]

	// seen is the cursor up to which the index has followed the store, and proved
	// when the store last said that nothing is newer; moved is closed and replaced
	// whenever it moves.
	mu     sync.Mutex
	seen   Cursor
	proved time.Time
	moved  chan struct{}

	committed func(took time.Duration, err error)
	failed    atomic.Pointer[failure]      // the last commit's, nil if it succeeded
	verified  atomic.Pointer[audit.Report] // what verifying the trail found last

	stop    context.CancelFunc
	stopped chan struct{}
	closed  atomic.Bool
}

// Options of a keyring. The zero value is right outside of tests.
type Options struct {
	Now    func() time.Time // the wall clock; default time.Now
	Random io.Reader        // default crypto/rand

	// Committed is told of every attempt to change the store: how long the store
	// took, and its error. It must be quick, and safe for concurrent use.
	Committed func(took time.Duration, err error)
}

// Open reads every key of the store into memory and follows the store's
// changes from there. The keyring owns the store from now on, also when Open
// fails: Close closes both.
func Open(ctx context.Context, store Store, opts Options) (*Keyring, error) {
	if opts.Random == nil {
		opts.Random = rand.Reader
	}
	if opts.Committed == nil {
		opts.Committed = func(time.Duration, error) {}
	}
	k := &Keyring{
		store:     store,
		random:    opts.Random,
		clock:     newClock(opts.Now),
		committed: opts.Committed,
		moved:     make(chan struct{}),
		stopped:   make(chan struct{}),
	}
	if err := k.load(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	watching, cancel := context.WithCancel(context.Background())
	k.stop = cancel
	go k.follow(watching)
	return k, nil
}

// Close stops following the store and closes it. Verify goes on answering from
// memory; changes fail with ErrClosed.
func (k *Keyring) Close() error {
	k.closed.Store(true)
	k.stop()
	<-k.stopped
	return k.store.Close()
}

// Closed reports whether Close was called: from then on what Verify says is no
// longer kept up to date.
func (k *Keyring) Closed() bool { return k.closed.Load() }

// loadChunk is how many records go into the index at once while it is loaded.
const loadChunk = 1 << 14

// load builds the index from a snapshot. The store decodes one chunk while the
// index takes over the last.
func (k *Keyring) load(ctx context.Context) error {
	ix := newIndex(0)
	chunks, staged := make(chan []Record, 1), make(chan struct{})
	go func() {
		defer close(staged)
		for chunk := range chunks {
			ix.stage(chunk)
		}
	}()
	var chunk []Record
	cursor, err := k.store.Snapshot(ctx, func(r Record) error {
		if chunk = append(chunk, r); len(chunk) == loadChunk {
			chunks <- chunk
			chunk = make([]Record, 0, loadChunk)
		}
		return nil
	})
	chunks <- chunk
	close(chunks)
	<-staged
	if err != nil {
		return fmt.Errorf("reading the keys: %w", err)
	}
	ix.publish()
	k.index.Store(ix)
	k.advance(cursor)
	return nil
}

// follow applies the store's changes to the index, in their order, for as long
// as the keyring is open.
func (k *Keyring) follow(ctx context.Context) {
	defer close(k.stopped)
	for ctx.Err() == nil {
		err := k.store.Watch(ctx, k.position(), func(b Batch) error {
			if len(b.Records) > 0 {
				k.index.Load().apply(b.Records)
			}
			k.advance(b.Cursor)
			return nil
		})
		if errors.Is(err, ErrClosed) {
			return
		}
		if errors.Is(err, ErrBehind) || errors.Is(err, ErrForked) {
			err = k.load(ctx)
		}
		if err != nil {
			pause(ctx, time.Second)
		}
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (k *Keyring) position() Cursor {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen
}

func (k *Keyring) advance(c Cursor) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen, k.proved = c, time.Now()
	close(k.moved)
	k.moved = make(chan struct{})
}

// apply commits mutations with the entries that tell of them, and returns when
// the index has them, so that a caller who was told of a revocation can rely on
// it.
func (k *Keyring) apply(ctx context.Context, mutations []Mutation, entries ...audit.Draft) error {
	began := time.Now()
	cursor, err := k.store.Apply(ctx, mutations, entries)
	k.committed(time.Since(began), err)
	k.note(err)
	if err != nil {
		return err
	}
	for {
		k.mu.Lock()
		seen, moved := k.seen, k.moved
		k.mu.Unlock()
		if seen.Revision >= cursor.Revision {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("%w: committed, but not yet seen in force: %w", ErrUncertain, ctx.Err())
		case <-k.stopped:
			return fmt.Errorf("%w: committed, but the keyring was closed before it was in force", ErrUncertain)
		}
	}
}

// IdleRotations returns the keys with a rotation that ends by itself once its
// old credentials are not used any more.
func (k *Keyring) IdleRotations() []string { return k.index.Load().snapshot().idle }

// Now returns the time by which the keyring decides. Setting the clock back does
// not set it back.
func (k *Keyring) Now() time.Time { return k.clock.time() }

// HasOrigin reports whether any key that is not final lists this browser
// origin.
func (k *Keyring) HasOrigin(origin string) bool {
	return k.index.Load().snapshot().hasOrigin(origin)
}
