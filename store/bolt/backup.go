package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Backup implements keyring.Store. The copy is a store file; it is made in the
// store's directory first, without a name, and only then written to w: a
// transaction that stays open while a slow reader reads would let the file
// grow with every change.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	tmp, err := s.copy(ctx)
	if err != nil {
		return err
	}
	defer tmp.Close()
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := tmp.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return fmt.Errorf("writing the backup: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the backup: %w", err)
		}
	}
}

// copy returns a file without a name that holds a consistent copy.
func (s *Store) copy(ctx context.Context) (*os.File, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(s.path), "."+filepath.Base(s.path)+".backup-*") // 0600
	if err != nil {
		return nil, s.backupError(err)
	}
	if err := os.Remove(tmp.Name()); err != nil {
		_ = tmp.Close()
		return nil, s.backupError(err)
	}
	if err := s.copyTo(tmp); err != nil {
		_ = tmp.Close()
		return nil, s.backupError(err)
	}
	return tmp, nil
}

func (s *Store) copyTo(tmp *os.File) error {
	tx, err := s.begin(false)
	if err != nil {
		return err
	}
	defer s.end(tx)
	// bbolt reads the pages from the file here, not from the mapping.
	w := &errorKeeper{w: tmp}
	err = s.guard(func() error {
		_, err := tx.WriteTo(w)
		return err
	})
	if err = cmp.Or(w.err, err); err != nil {
		return err
	}
	_, err = tmp.Seek(0, io.SeekStart)
	return err
}

func (s *Store) backupError(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: store %s: the backup needs room for a copy beside it: %w", keyring.ErrFull, s.path, err)
	}
	return fmt.Errorf("store %s: backup: %w", s.path, err)
}

// errorKeeper keeps the error of a write, which bbolt flattens to text.
type errorKeeper struct {
	w   io.Writer
	err error
}

func (k *errorKeeper) Write(b []byte) (n int, err error) {
	n, k.err = k.w.Write(b)
	return n, k.err
}
