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
// Five buckets. meta has the record "schema" (what the file is) and the record
// "state" (cursor and counts); keys has the keys by id; orgs has the orgs by
// name; digests has the id of the key that holds, or ever held, a credential
// by the SHA-256 of its token, and never loses an entry; trail has what was done
// to them, and by whom, by number (package audit).
package bolt

import (
	"fmt"
	"os"
	"strconv"
	"time"

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
	guarded
	trails

	head   head       // what the last commit left; only the writer uses it
	calls  chan *call // to the writer; unbuffered: received means begun
	chores chan *call // those that have a commit of their own
	recent recent     // the last commits, for Watch
}

var storeKind = kind{build: build}

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
	f, err := openFile(path, opts.Timeout, &storeKind)
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
	s := &Store{head: found.head, calls: make(chan *call), chores: make(chan *call)}
	s.openTrail()
	s.recent.start(found.head.cursor)
	if err := s.open(path, f, &storeKind, found.size, opts); err != nil {
		return nil, err
	}
	return s, nil
}

// Interface guard.
var _ keyring.Store = (*Store)(nil)
