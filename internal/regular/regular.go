// Package regular opens the small files that the server keeps beside its store.
// Whoever can put something in their place must not be able to stop a start: to
// open a pipe waits for its other end, to open a device may do something, and
// through a link some other file would be read or emptied. It opens regular files
// and nothing else, and never waits.
package regular

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotRegular says that something else stands where a file was expected.
var ErrNotRegular = errors.New("not a regular file; links are not followed")

// Open opens a file for reading. Its errors wrap ErrNotRegular or are those of
// os.Open.
func Open(path string) (*os.File, error) {
	named, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !named.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, ErrNotRegular)
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe
	if err != nil {
		return nil, err
	}
	opened, err := file.Stat()
	if err == nil && !os.SameFile(named, opened) {
		err = fmt.Errorf("%s was replaced while it was opened: %w", path, fs.ErrInvalid)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Create makes an empty file that only its owner can read, in place of whatever
// stands there: that is removed, not opened.
func Create(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}
