package denylist

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Errors of a file whose list does not replace the one before.
var (
	ErrEmpty    = errors.New("the list is empty")
	ErrShrunk   = errors.New("the list has shrunk to less than half")
	ErrChanging = errors.New("the file was changed while it was read")
)

// shrinkFrom is how many entries a list has that may not shrink to less than half at once. A shorter one is
// kept by hand, where to remove most of three entries is ordinary.
const shrinkFrom = 100

// File is a list that a file holds. Its methods may be called at the same time.
type File struct {
	path   string
	set    atomic.Pointer[Set]
	status atomic.Pointer[Status]

	mu      sync.Mutex  // of what follows, and of changes; reading a long list takes a while
	loaded  fs.FileInfo // of the file that set was read from
	refused fs.FileInfo // of one that was not taken, for what is in it
	refusal error       // what that is
	seen    fs.FileInfo // at the last look
}

// Status is how it stands with a file.
type Status struct {
	Entries  int
	LoadedAt time.Time // when the list in force was read
	Written  time.Time // when its file was written, as the file says
	Fault    error     // why the list in force is not that of the file now; nil if it is
}

// Open reads a file for the first time. mayShrink is that of Look.
func Open(path string, mayShrink bool) (*File, error) {
	f := &File{path: path}
	f.status.Store(new(Status))
	if err := f.Reload(mayShrink); err != nil {
		return nil, err
	}
	return f, nil
}

// Contains reports whether the list in force has addr, which must be unmapped and without zone. It neither
// waits nor allocates.
func (f *File) Contains(addr netip.Addr) bool { return f.set.Load().Contains(addr) }

// Path returns the path that Open got.
func (f *File) Path() string { return f.path }

// Status returns how it stands. It does not wait either.
func (f *File) Status() Status { return *f.status.Load() }

func (f *File) setFault(err error) {
	s := f.Status()
	s.Fault = err
	f.status.Store(&s)
}

// Reload reads the file now, if it is another one than the list in force was read from. On an error that list
// stays.
func (f *File) Reload(mayShrink bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := f.stat()
	if err == nil && !same(info, f.loaded) {
		err = f.take(mayShrink)
	}
	if err == nil {
		f.setFault(nil)
	}
	return err
}

// Look looks at the file, and takes its list if it is another one and was not changed since the last look.
// replaced says that it did. What is wrong with the file is the Fault of the Status from then on; a Fault ends
// when the file is good, or is again the one that the list in force was read from.
//
// mayShrink lets a list in that is empty, or less than half of the one before: without it such a list is
// refused, since it is what remains of one that was cut off between two lines.
func (f *File) Look(mayShrink bool) (replaced bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := f.stat()
	before := f.seen
	f.seen = info
	switch {
	case err != nil:
		f.setFault(err)
		return false
	case same(info, f.loaded):
		f.setFault(nil)
		return false
	case same(info, f.refused) && !(mayShrink && isShrunk(f.refusal)):
		f.setFault(f.refusal)
		return false
	case !same(info, before):
		return false // perhaps somebody is writing it
	}
	err = f.take(mayShrink)
	if errors.Is(err, ErrChanging) {
		return false
	}
	f.setFault(err)
	return err == nil
}

func isShrunk(err error) bool { return errors.Is(err, ErrShrunk) || errors.Is(err, ErrEmpty) }

// same reports whether two looks saw the same file, unchanged.
func same(a, b fs.FileInfo) bool {
	return a != nil && b != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// stat looks at the file without opening it: to open a pipe waits, and to open a device may do something.
func (f *File) stat() (fs.FileInfo, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	return info, check(info, f.path)
}

func check(info fs.FileInfo, path string) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file: %s", path, info.Mode())
	case info.Size() > MaxFileSize:
		return fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), MaxFileSize)
	}
	return nil
}

// take reads the file and puts its list in force, unless something is wrong with it.
func (f *File) take(mayShrink bool) error {
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe
	if err != nil {
		return err
	}
	defer file.Close()
	before, err := file.Stat()
	if err != nil {
		return err
	}
	if err := check(before, f.path); err != nil {
		return err
	}
	set, err := Parse(file)
	after, failed := file.Stat()
	if failed != nil || !same(before, after) {
		return fmt.Errorf("%s: %w", f.path, ErrChanging)
	}
	if err == nil {
		err = f.accept(set, before, mayShrink)
	}
	var ioErr *fs.PathError
	switch {
	case errors.As(err, &ioErr): // of the disk; the next look may have more luck
		return err
	case err != nil:
		f.refused, f.refusal = before, fmt.Errorf("%s: %w", f.path, err)
		return f.refusal
	}
	f.set.Store(set)
	f.loaded, f.refused, f.refusal = before, nil, nil
	f.status.Store(&Status{Entries: set.Len(), LoadedAt: time.Now(), Written: before.ModTime()})
	return nil
}

// accept says what is wrong with a list that was read whole.
func (f *File) accept(set *Set, info fs.FileInfo, mayShrink bool) error {
	old := f.set.Load().Len()
	switch {
	case info.Size() == 0:
		return fmt.Errorf("%w: it has not a single byte", ErrCutOff)
	case mayShrink:
	case set.Len() == 0:
		return ErrEmpty
	case old >= shrinkFrom && 2*set.Len() < old:
		return fmt.Errorf("%w: from %d entries to %d", ErrShrunk, old, set.Len())
	}
	return nil
}
