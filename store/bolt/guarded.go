package bolt

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// guarded is an open bbolt file with a lock and a watch on it: whatever happens
// to the file, the process lives, and nothing is written into nowhere (guard.go).
type guarded struct {
	path string
	file *os.File    // the handle that bbolt works on; it carries the lock
	stat os.FileInfo // which file it is, to notice that path became another one
	db   *bbolt.DB
	cure string       // the way out of damage, "" for that of a store: a backup
	size atomic.Int64 // bytes that the last commit needs the file to have

	txMu     sync.Mutex // held while a transaction begins or ends, see begin
	stuck    bool       // a transaction may never end; guarded by txMu
	readOnly atomic.Pointer[error]
	failed   atomic.Pointer[error]
	broken   chan struct{} // closed when failed is set

	lifeMu  sync.Mutex
	closed  bool
	closing chan struct{}
	running sync.WaitGroup
	ended   chan struct{} // closed when the writer has ended
	closeFn func() error
}

// open lets bbolt map the locked and checked file f, of which size bytes are in
// use.
func (s *guarded) open(path string, f *os.File, size int64, opts Options) (err error) {
	s.path, s.file = path, f
	s.ended, s.broken, s.closing = make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.closeFn = sync.OnceValue(s.close)
	s.size.Store(size)
	if s.stat, err = f.Stat(); err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	err = s.guard(func() (err error) {
		s.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:         opts.Timeout,
			FreelistType:    bbolt.FreelistMapType,
			InitialMmapSize: initialMap(opts.MaxSize),
			MaxSize:         int(opts.MaxSize),
			NoStatistics:    true,
			// bbolt gets the very file that was checked: there is no moment at
			// which the name could come to mean another one.
			OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil },
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	s.db.AllocSize = int(min(maxAllocSize, opts.MaxSize/16))
	return nil
}

// initialMap is how much address space the file gets: as much as the file may
// ever need. Mapping beyond a file's end costs neither memory nor disk, and a
// map that never moves never makes the writer wait for open readers, nor
// readers (and Close) for a writer that waits.
func initialMap(maxSize int64) int {
	if strconv.IntSize == 32 {
		return int(min(maxSize, 64<<20)) // address space is scarce
	}
	return int(maxSize)
}

// Path returns the file that the store is kept in.
func (s *guarded) Path() string { return s.path }

// enter begins a call that uses the file; leave ends it.
func (s *guarded) enter() error {
	s.lifeMu.Lock()
	defer s.lifeMu.Unlock()
	if s.closed {
		return fmt.Errorf("store %s: %w", s.path, keyring.ErrClosed)
	}
	s.running.Add(1)
	return nil
}

func (s *guarded) leave() { s.running.Done() }

// Close implements keyring.Store. It may be called more than once. It waits
// for everything that uses the file, and so not for a Backup that only has to
// be written to a slow reader, nor for a function that Watch or Keys called.
// A store that failed is closed within a bounded time, if need be by giving up
// its mapped memory.
func (s *guarded) Close() error { return s.closeFn() }

func (s *guarded) close() error {
	s.lifeMu.Lock()
	s.closed = true
	close(s.closing)
	s.lifeMu.Unlock()

	done := make(chan error, 1)
	go func() {
		s.running.Wait()
		<-s.ended
		done <- s.db.Close()
	}()
	var giveUp <-chan time.Time
	broken := s.broken
	for {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("store %s: closing: %w", s.path, err)
			}
			return nil
		case <-broken:
			// A fault inside bbolt may have left one of its locks held for ever.
			broken, giveUp = nil, time.After(defaultTimeout)
		case <-giveUp:
			unlock(s.file) // by hand: the mapping that stays would keep it
			_ = s.file.Close()
			return fmt.Errorf("store %s: closed after it failed: %w", s.path, s.failure())
		}
	}
}
