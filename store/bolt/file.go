package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// errHeld: another process, or another Store of this one, has the file open.
var errHeld = errors.New("in use")

// openFile returns the file path, locked, and created by build where there is none. All
// rules about who may own, see and write it are checked here, on the handle
// that is then used.
func openFile(path string, timeout time.Duration, build func(path string) error) (*os.File, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("store %q: the path must be absolute, such as /var/lib/caddy/api_keys/keys.db", path)
	}
	if filepath.Clean(path) != path {
		return nil, fmt.Errorf("store %q: write the path as %s", path, filepath.Clean(path))
	}
	dir := filepath.Dir(path)
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("store %s: creating its directory: %w. Create %s for the user that Caddy runs as", path, err, dir)
	}
	if err := checkDir(path, dir); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path, build); err != nil {
			return nil, err
		}
	}
	if err := checkPath(path); err != nil {
		return nil, err
	}
	f, err := openNoFollow(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("store %s: %w. Let the user that Caddy runs as own it: chown %d %s", path, fs.ErrPermission, os.Geteuid(), quote(path))
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	if err = checkOpened(path, f); err == nil {
		err = lock(path, f, timeout)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// makeDir creates dir and its parents where they do not exist, durably: a new
// store must not vanish with its directory in a power failure.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above := filepath.Dir(dir)
	if err := makeDir(above); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	parent, err := os.Open(above)
	if errors.Is(err, fs.ErrPermission) {
		return nil // may be written but not read; then it cannot be synced either
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	return syncDir(parent)
}

// checkPath refuses what is not a plain file before it is opened: opening a
// pipe or a device may block or have effects.
func checkPath(path string) error {
	st, err := os.Lstat(path)
	switch {
	case err != nil:
		return fmt.Errorf("store %s: %w", path, err)
	case st.Mode()&fs.ModeSymlink != 0:
		target, _ := filepath.EvalSymlinks(path)
		if target == "" {
			target = "the file itself"
		}
		return fmt.Errorf("store %s: is a symbolic link. Name %s in the configuration instead", path, target)
	case !st.Mode().IsRegular():
		return fmt.Errorf("store %s: is not a regular file (%s). Name a file in the configuration", path, st.Mode().Type())
	}
	return nil
}

func checkOpened(path string, f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	_, links := ownerAndLinks(st)
	switch {
	case !st.Mode().IsRegular():
		return fmt.Errorf("store %s: is not a regular file (%s). Name a file in the configuration", path, st.Mode().Type())
	case links > 1:
		return fmt.Errorf("store %s: has %d names (hard links); a copy under another name could be changed or read past its protection. "+
			"Find them with find -inum, or give it a file of its own: cp %[3]s %[3]s.copy && mv %[3]s.copy %[3]s", path, links, quote(path))
	case st.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("store %s: its mode %04o lets other users at it. Run chmod 600 %s", path, st.Mode().Perm(), quote(path))
	case st.Size() == 0:
		return fmt.Errorf("store %s: is empty; an empty file is never a store, so its keys were lost. Restore a backup: stop Caddy, "+
			"then cp <backup> %[2]s. Where there never was a key: rm %[2]s", path, quote(path))
	}
	return nil
}

// checkDir refuses a directory in which somebody else could replace the file.
func checkDir(path, dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	owner, _ := ownerAndLinks(st)
	switch {
	case !st.IsDir():
		return fmt.Errorf("store %s: %s is not a directory", path, dir)
	case st.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("store %s: other users can write to its directory (mode %04o). Run chmod go-w %s, or choose a directory of its own",
			path, st.Mode().Perm(), quote(dir))
	case owner != 0 && owner != os.Geteuid():
		return fmt.Errorf("store %s: its directory belongs to user %d, Caddy runs as %d. Run chown %[3]d %s", path, owner, os.Geteuid(), quote(dir))
	}
	return nil
}

// lock takes the lock that bbolt would take, on the same handle, so that the
// file can be checked under it and so that the holder can be named.
func lock(path string, f *os.File, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		err := tryLock(f)
		if err == nil {
			break
		}
		if !errors.Is(err, errHeld) {
			return fmt.Errorf("store %s: locking it: %w", path, err)
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("store %s: %s has it open. Stop that, or give this Caddy a store of its own", path, holder(path, f))
		}
		time.Sleep(min(left, 20*time.Millisecond))
	}
	// The file may have been replaced while we waited for its lock.
	open, err := f.Stat()
	if err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	if named, err := os.Lstat(path); err != nil || !os.SameFile(open, named) {
		return fmt.Errorf("store %s: was replaced while it was being opened. Try again", path)
	}
	return nil
}

var plainPath = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// quote makes path safe to paste into a shell.
func quote(path string) string {
	if plainPath.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
