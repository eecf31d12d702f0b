//go:build unix

package regular

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// stand puts every kind of thing at a path in turn; victim is what a link leads to.
func stand(t *testing.T, f func(t *testing.T, path, victim string)) {
	for what, put := range map[string]func(path, victim string) error{
		"nothing":            func(string, string) error { return nil },
		"a file":             func(path, _ string) error { return os.WriteFile(path, []byte("own"), 0o600) },
		"a pipe":             func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
		"a link":             func(path, victim string) error { return os.Symlink(victim, path) },
		"a loop":             func(path, _ string) error { return os.Symlink(path, path) },
		"a device":           func(path, _ string) error { return os.Symlink("/dev/zero", path) },
		"an empty directory": func(path, _ string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(what, func(t *testing.T) {
			path, victim := filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "victim")
			if err := errors.Join(os.WriteFile(victim, []byte("victim"), 0o600), put(path, victim)); err != nil {
				t.Fatal(err)
			}
			f(t, path, victim)
		})
	}
}

func TestOpen(t *testing.T) {
	stand(t, func(t *testing.T, path, _ string) {
		info, missing := os.Lstat(path)
		file, err := Open(path)
		switch {
		case missing != nil:
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v, want ErrNotExist", err)
			}
		case !info.Mode().IsRegular():
			if !errors.Is(err, ErrNotRegular) {
				t.Errorf("%v, want ErrNotRegular", err)
			}
		default:
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if text, err := io.ReadAll(file); string(text) != "own" || err != nil {
				t.Errorf("read %q, %v", text, err)
			}
		}
	})
}

func TestCreate(t *testing.T) {
	stand(t, func(t *testing.T, path, victim string) {
		file, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteString("new")
		if err = errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if text, err := os.ReadFile(path); string(text) != "new" || err != nil {
			t.Errorf("wrote %q, %v", text, err)
		}
		if text, err := os.ReadFile(victim); string(text) != "victim" || err != nil {
			t.Errorf("what the link led to is %q, %v", text, err)
		}
	})
}
