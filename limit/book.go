package limit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/regular"
)

const (
	leaseTimeout = 5 * time.Second // how long a request waits for the disk
	loadPause    = time.Second     // between attempts to read a file that cannot be
	minAdditions = 64 << 10        // bytes that are added before the file is written anew
)

// book keeps what is reserved of quotas in a file. One goroutine writes it, many
// reservations at once.
type book struct {
	table  *Table
	path   string
	failed func(error) // told of a failure, and of nil when it is over

	mu      sync.Mutex
	pending *batch // what will be written next; nil for nothing
	closed  bool
	wake    chan struct{}
	stop    chan struct{}
	done    chan struct{}

	unread atomic.Bool           // what the last process left is not known
	err    atomic.Pointer[error] // why the last attempt failed

	// Of the goroutine alone.
	file        *os.File // what is added to; nil: the whole file is to be written anew
	size, image int64
	nextLoad    time.Time
}

// Options of a table that keeps quotas in a file.
type Options struct {
	Path   string
	Now    func() time.Time // the clock; default time.Now
	Failed func(error)      // told when quotas cannot be read or written, and of nil when they can again
}

// Open returns a table with what the last one left in the file. If that cannot be
// read, every request that a quota holds for is ErrUnavailable until it can; an
// operator who removes the file has all quotas counted anew.
func Open(o Options) *Table {
	t := New(o.Now)
	b := &book{
		table:  t,
		path:   o.Path,
		failed: o.Failed,
		wake:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	if b.failed == nil {
		b.failed = func(error) {}
	}
	b.unread.Store(true)
	b.note(b.load())
	t.book = b
	go b.run()
	return t
}

// Close writes exactly what was spent, and the windows of a minute and more.
// Requests that a quota holds for are ErrUnavailable from then on.
func (t *Table) Close() error {
	b := t.book
	if b == nil {
		return nil
	}
	b.mu.Lock()
	first := !b.closed
	b.closed = true
	b.mu.Unlock()
	if !first {
		return nil
	}
	close(b.stop)
	<-b.done
	if b.unread.Load() {
		return nil
	}
	err := b.rewrite(nil, true)
	if b.file != nil {
		err = errors.Join(err, b.file.Close())
	}
	return err
}

// Health returns why quotas cannot be read or written, nil if they can.
func (t *Table) Health() error {
	if t.book == nil {
		return nil
	}
	if err := t.book.err.Load(); err != nil {
		return *err
	}
	return nil
}

// run writes until the table is closed, and then what waits.
func (b *book) run() {
	defer close(b.done)
	for stopping := false; !stopping; {
		select {
		case <-b.wake:
		case <-b.stop:
			stopping = true
		}
		if taken := b.take(); taken != nil {
			taken.err = b.commit(taken.wants)
			b.note(taken.err)
			close(taken.done)
		}
	}
}

func (b *book) note(err error) {
	if err == nil {
		if b.err.Swap(nil) != nil {
			b.failed(nil)
		}
		return
	}
	if b.err.Swap(&err) == nil {
		b.failed(err)
	}
}

// mustRewrite reports whether the file has to be written anew: there is none that
// could be added to, it was removed or replaced, or it has grown.
func (b *book) mustRewrite() bool {
	if b.file == nil || b.size-b.image > max(minAdditions, b.image) {
		return true
	}
	ours, err := b.file.Stat()
	if err != nil {
		return true
	}
	there, err := os.Lstat(b.path)
	return err != nil || !os.SameFile(ours, there) || there.Size() != b.size
}

// add writes behind what is there. After a failure it is not known what is on
// disk, so that the file is written anew with the next attempt.
func (b *book) add(targets map[leaseKey]uint64) error {
	w := newAddition(b.size)
	for key, target := range targets {
		w.quota(key.org, key.name, key.span, key.number, target)
	}
	w.flush()
	_, err := b.file.Write(w.data)
	if err == nil {
		err = b.file.Sync()
	}
	if err != nil {
		b.file.Close()
		b.file = nil
		return fmt.Errorf("quotas are not written: %w", err)
	}
	b.size += int64(len(w.data))
	return nil
}

// rewrite puts a new file in the place of the old one. At the end of the process
// it has exactly what was spent, and the windows.
func (b *book) rewrite(targets map[leaseKey]uint64, final bool) error {
	data, empty := b.table.encode(targets, final)
	if empty {
		if _, err := os.Lstat(b.path); errors.Is(err, fs.ErrNotExist) {
			return nil // nobody has quotas
		}
	}
	file, err := replaceFile(b.path, data)
	if err != nil {
		return fmt.Errorf("quotas are not written: %w", err)
	}
	if b.file != nil {
		b.file.Close()
	}
	b.file, b.size, b.image = file, int64(len(data)), int64(len(data))
	return nil
}

// replaceFile writes a file whole or not at all, durably, and leaves it open.
func replaceFile(path string, data []byte) (*os.File, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := regular.Create(path + ".new")
	if err != nil {
		return nil, err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// syncDir makes the rename of a file durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// readFile reads the file of a table. What does not even begin like one is not
// read on: it may be of any size.
func readFile(path string) ([]byte, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	begin := make([]byte, len(fileFormat))
	switch n, err := io.ReadFull(file, begin); {
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, err
	case string(begin[:n]) != fileFormat:
		return nil, ErrDamaged
	}
	rest, err := io.ReadAll(file)
	return append(begin, rest...), err
}

// load takes over what the last process left.
func (b *book) load() error {
	if time.Now().Before(b.nextLoad) {
		return *b.err.Load()
	}
	b.nextLoad = time.Now().Add(loadPause)
	data, err := readFile(b.path)
	if err == nil {
		var c contents
		if c, _, err = decodeFile(data); err == nil {
			b.table.restore(&c)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("quotas of %s cannot be read: %w", b.path, err)
	}
	b.unread.Store(false)
	return nil
}
