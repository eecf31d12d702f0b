// Package bolt keeps keys and orgs in one bbolt file: the default store, for a
// single node.
//
// # What it promises
//
// Apply returns after the commit is on the disk. A process that is killed at
// any moment, or a disk that fills up, loses nothing that was acknowledged and
// leaves no call half done. A file that is not what was written is noticed: its
// structure is checked before it is mapped (check.go), each record carries a
// checksum (record.go), and the number of records is kept beside them, so that
// a damaged file is never an empty or a smaller key set by accident. A fault
// of the mapped memory, as after somebody truncated the file, fails the store
// and never the process (guard.go).
//
// # What it does not do
//
// It does not defend against somebody who can write to the file: checksums are
// no signatures. It keeps one file on one machine; network file systems whose
// locks are not reliable are not supported.
//
// # Layout
//
// Four buckets. meta has the record "schema" (what the file is) and the record
// "state" (cursor and counts); keys has the keys by id; orgs has the orgs by
// name; digests has the id of the key that holds, or ever held, a credential
// by the SHA-256 of its token, and never loses an entry.
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

const (
	defaultTimeout = time.Second
	maxAllocSize   = 16 << 20
	minMaxSize     = 1 << 20
)

// defaultMaxSize is for some ten million keys. It is there to stop a script
// that creates keys in a loop before the disk is full.
const defaultMaxSize = 1<<30<<(strconv.IntSize/64*3) - 1<<20 // 8 GiB; 1 GiB on 32 bit; less the slack of the last growth

// Options are the settings of a store; the zero value is good.
type Options struct {
	// MaxSize is the size in bytes that the file may reach; changes that need
	// more fail with keyring.ErrFull. 0 is the default: nearly 8 GiB, some ten
	// million keys (1 GiB on 32-bit systems). At least 1 MiB.
	MaxSize int64

	// Timeout is how long Open waits for another process that has the file
	// open. 0 is the default, one second.
	Timeout time.Duration
}

// Store is a keyring.Store in one bbolt file.
type Store struct {
	path string
	file *os.File    // the handle that bbolt works on; it carries the lock
	stat os.FileInfo // which file it is, to notice that path became another one
	db   *bbolt.DB

	head   head          // what the last commit left; only the writer uses it
	size   atomic.Int64  // bytes that the last commit needs the file to have
	calls  chan *call    // to the writer; unbuffered: received means begun
	ended  chan struct{} // closed when the writer has ended
	recent recent        // the last commits, for Watch

	txMu     sync.Mutex // held while a transaction begins or ends, see begin
	stuck    bool       // a transaction may never end; guarded by txMu
	readOnly atomic.Pointer[error]
	failed   atomic.Pointer[error]
	broken   chan struct{} // closed when failed is set

	lifeMu  sync.Mutex
	closed  bool
	closing chan struct{}
	running sync.WaitGroup
	closeFn func() error
}

// Open opens the store in the file path, which is created, with its directory,
// where there is none. The file must be a regular one of mode 0600 with one
// name only, in a directory that nobody else can write to. Every refusal says
// what to do about it; one that wraps keyring.ErrDamaged means that the file's
// content is not what was written.
func Open(path string, opts Options) (*Store, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.MaxSize == 0 {
		opts.MaxSize = defaultMaxSize
	}
	if opts.MaxSize < minMaxSize {
		return nil, fmt.Errorf("store %s: max_size is %d bytes; set at least %d (1 MiB)", path, opts.MaxSize, minMaxSize)
	}
	if int64(int(opts.MaxSize)) != opts.MaxSize {
		return nil, fmt.Errorf("store %s: max_size is %d bytes, more than this system can address", path, opts.MaxSize)
	}
	f, err := openFile(path, opts.Timeout)
	if err != nil {
		return nil, err
	}
	s, err := openDB(path, f, opts)
	if err != nil {
		unlock(f) // by hand, for the case that a mapping is left
		_ = f.Close()
		return nil, err
	}
	go s.write()
	return s, nil
}

// openDB checks the locked file f and lets bbolt map it.
func openDB(path string, f *os.File, opts Options) (*Store, error) {
	found, err := checkFile(path, f)
	if err != nil {
		return nil, err
	}
	s := &Store{
		path:    path,
		file:    f,
		head:    found.head,
		calls:   make(chan *call),
		ended:   make(chan struct{}),
		broken:  make(chan struct{}),
		closing: make(chan struct{}),
	}
	s.closeFn = sync.OnceValue(s.close)
	s.recent.start(found.head.cursor)
	s.size.Store(found.size)
	if s.stat, err = f.Stat(); err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
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
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	s.db.AllocSize = int(min(maxAllocSize, opts.MaxSize/16))
	return s, nil
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
func (s *Store) Path() string { return s.path }

// enter begins a call that uses the file; leave ends it.
func (s *Store) enter() error {
	s.lifeMu.Lock()
	defer s.lifeMu.Unlock()
	if s.closed {
		return fmt.Errorf("store %s: %w", s.path, keyring.ErrClosed)
	}
	s.running.Add(1)
	return nil
}

func (s *Store) leave() { s.running.Done() }

// Close implements keyring.Store. It may be called more than once. It waits
// for everything that uses the file, and so not for a Backup that only has to
// be written to a slow reader, nor for a function that Watch or Keys called.
// A store that failed is closed within a bounded time, if need be by giving up
// its mapped memory.
func (s *Store) Close() error { return s.closeFn() }

func (s *Store) close() error {
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

// Interface guard.
var _ keyring.Store = (*Store)(nil)
