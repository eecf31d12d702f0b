package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/storetest"
)

// TestWriteErrorStops makes the kernel refuse writes to the open file. What
// the disk holds is then not known, so nothing more is written until the store
// has been opened, and checked, anew.
func TestWriteErrorStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "keys.db")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	create := func(n int) error {
		_, err := s.Apply(t.Context(), []keyring.Mutation{{Key: storetest.Key(n)}}, storetest.Told())
		return err
	}
	if err := create(1); err != nil {
		t.Fatal(err)
	}
	readable, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer readable.Close()
	if err := syscall.Dup3(int(readable.Fd()), int(s.file.Fd()), syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := create(2); !errors.Is(err, keyring.ErrUncertain) || !strings.Contains(err.Error(), path) {
		t.Errorf("first: %v", err)
	}
	for what, err := range map[string]error{"second": create(3), "Health": s.Health()} {
		if !errors.Is(err, keyring.ErrUnavailable) || errors.Is(err, keyring.ErrUncertain) || !strings.Contains(err.Error(), "restart Caddy") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Key(t.Context(), storetest.Key(1).ID); err != nil {
		t.Errorf("reading goes on: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := create(3); err != nil {
		t.Errorf("after it was opened again: %v", err)
	}
}

func TestIsFull(t *testing.T) {
	path := func(op string, err error) error {
		return fmt.Errorf("doing: %w", &fs.PathError{Op: op, Path: "f", Err: err})
	}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{berrors.ErrMaxSizeReached, true},
		{path("write", syscall.ENOSPC), true},
		{path("write", syscall.EDQUOT), true},
		{path("write", syscall.EFBIG), true},
		{path("open", syscall.ENOSPC), true},
		{errors.New("file resize error: truncate f: file too large"), true},
		{errors.New("file resize error: truncate f: input/output error"), false},
		{path("write", syscall.EIO), false},
		{path("sync", syscall.ENOSPC), false}, // a failed sync is never "nothing happened"
		{syscall.ENOSPC, false},               // fdatasync
		{errors.New("file sync error: sync f: no space left on device"), false},
		{errors.New("other"), false},
	} {
		if got := isFull(test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}
