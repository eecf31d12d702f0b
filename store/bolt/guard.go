package bolt

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// guard runs fn, which touches the mapped file. A file that changed under us
// shows as a memory fault (SIGBUS where it was truncated) or as a panic of
// bbolt; both become an error that wraps keyring.ErrDamaged and fail the store
// for good. fn must not run code of the caller, whose panics are its own.
func (s *guarded) guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = s.fail(panicText(p))
		}
	}()
	return fn()
}

func panicText(p any) string {
	if e, ok := p.(interface{ Addr() uintptr }); ok {
		_ = e.Addr()
		return "a mapped page cannot be read (the file was truncated or its disk failed)"
	}
	return fmt.Sprint(p)
}

// fail marks the store as failed and returns why it did. From then on nothing
// touches the mapped file.
func (s *guarded) fail(reason string) error {
	err := error(&damage{path: s.path, what: "damaged while open: " + reason, cure: s.cure})
	if s.failed.CompareAndSwap(nil, &err) {
		close(s.broken)
	}
	return err
}

// failure returns the error of a failed store, or nil.
func (s *guarded) failure() error {
	if p := s.failed.Load(); p != nil {
		return fmt.Errorf("%w: %w", keyring.ErrUnavailable, *p)
	}
	return nil
}

// begin begins a transaction. A panic of bbolt in there leaves bbolt's inner
// locks held, so that whoever begins or ends another transaction would wait for
// ever. txMu makes the others come after it and see that the store is stuck.
func (s *guarded) begin(writable bool) (tx *bbolt.Tx, err error) {
	s.txMu.Lock()
	defer s.txMu.Unlock()
	if err := s.failure(); err != nil {
		return nil, err
	}
	if err := s.checkSize(); err != nil {
		return nil, err
	}
	err = s.guard(func() (err error) {
		tx, err = s.db.Begin(writable)
		return err
	})
	if err != nil {
		s.stuck = s.failure() != nil
		return nil, fmt.Errorf("%w: store %s: %w", keyring.ErrUnavailable, s.path, err)
	}
	return tx, nil
}

// end rolls tx back, which touches no mapped page, unless the store is stuck:
// then tx is left as it is, and Close gives up on it.
func (s *guarded) end(tx *bbolt.Tx) {
	s.txMu.Lock()
	defer s.txMu.Unlock()
	if !s.stuck {
		if err := s.guard(tx.Rollback); errors.Is(err, keyring.ErrDamaged) {
			s.stuck = true
		}
	}
}

// view runs fn in a read transaction. fn must be short and copy what it keeps.
func (s *guarded) view(fn func(*bbolt.Tx) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	tx, err := s.begin(false)
	if err != nil {
		return err
	}
	defer s.end(tx)
	return s.guard(func() error { return fn(tx) })
}

// checkSize notices a file that was truncated, before a mapped page faults.
func (s *guarded) checkSize() error {
	st, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("%w: store %s: %w", keyring.ErrUnavailable, s.path, err)
	}
	if want := s.size.Load(); st.Size() < want {
		return fmt.Errorf("%w: %w", keyring.ErrUnavailable,
			s.fail(fmt.Sprintf("truncated to %d of %d bytes", st.Size(), want)))
	}
	return nil
}

// checkName notices that path no longer leads to the open file, or only to
// read it. In the first case writing on would succeed and be lost with the last
// handle.
func (s *guarded) checkName() error {
	st, err := os.Lstat(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: store %s: the file was removed while in use. Take a backup through the management API, stop Caddy, "+
			"then put the backup there: cp <backup> %s", keyring.ErrUnavailable, s.path, quote(s.path))
	case err != nil:
		return fmt.Errorf("%w: store %s: %w", keyring.ErrUnavailable, s.path, err)
	case !os.SameFile(st, s.stat):
		return fmt.Errorf("%w: store %s: the file was replaced by another one while in use. Restart Caddy to use the new one, or take a "+
			"backup of the old one through the management API first", keyring.ErrUnavailable, s.path)
	case onReadOnly(s.path):
		return fmt.Errorf("%w: store %s: its file system has become read-only. Check the disk, and make it writable", keyring.ErrUnavailable, s.path)
	}
	return nil
}

// Health says whether the store could be written now, as far as can be told
// without writing: nil, or an error that wraps keyring.ErrUnavailable. It is
// cheap, and how a removed file is noticed while nobody changes anything.
func (s *guarded) Health() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.checkWritable()
}

func (s *guarded) checkWritable() error {
	if err := s.failure(); err != nil {
		return err
	}
	if p := s.readOnly.Load(); p != nil {
		return *p
	}
	if err := s.checkName(); err != nil {
		return err
	}
	return s.checkSize()
}

func (s *guarded) damaged(format string, args ...any) error {
	return &damage{path: s.path, what: fmt.Sprintf(format, args...), cure: s.cure}
}

// damage is an error that wraps keyring.ErrDamaged and names the way out.
type damage struct {
	path string
	what string
	also string // another way out than a backup
	cure string // the way out where there is no backup
}

func (d *damage) Error() string {
	if d.cure != "" {
		return fmt.Sprintf("store %s: %s. %s", d.path, d.what, d.cure)
	}
	return fmt.Sprintf("store %s: %s. Restore a backup: stop Caddy, then cp <backup> %s%s", d.path, d.what, quote(d.path), d.also)
}

func (d *damage) Unwrap() error { return keyring.ErrDamaged }
