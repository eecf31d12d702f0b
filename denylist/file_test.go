package denylist

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	bad  = netip.MustParseAddr("203.0.113.7")
	good = netip.MustParseAddr("192.0.2.1")
)

// clock gives each version of a file a time of its own.
var clock = time.Now().Add(-time.Hour)

// write replaces a file at once, as its page tells users to.
func write(t *testing.T, path, text string) {
	t.Helper()
	overwrite(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// overwrite writes into the file that there is.
func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(time.Second)
	if err := os.Chtimes(path, clock, clock); err != nil {
		t.Fatal(err)
	}
}

// many is a list of n entries from 10.0.0.0 on.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	return b.String()
}

func open(t *testing.T, text string) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, text)
	f, err := Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The new list is in force after two looks that saw the same file, and not before.
func TestLook(t *testing.T) {
	f := open(t, "203.0.113.7\n")
	if !f.Contains(bad) || f.Contains(good) || f.Look(false) || f.Look(false) {
		t.Fatal("the first list is not in force")
	}
	write(t, f.path, "192.0.2.1\n")
	if f.Look(false) || !f.Contains(bad) {
		t.Error("taken at the first look")
	}
	overwrite(t, f.path, "192.0.2.1\n192.0.2.2\n") // still being written
	if f.Look(false) || !f.Contains(bad) {
		t.Error("taken while it was written")
	}
	if !f.Look(false) || f.Contains(bad) || !f.Contains(good) {
		t.Error("not taken at the second look")
	}
	if s := f.Status(); s.Entries != 2 || s.Fault != nil || !s.Written.Equal(clock) || time.Since(s.LoadedAt) > time.Minute {
		t.Errorf("%+v", s)
	}
	if f.Look(false) {
		t.Error("taken again")
	}
}

// Whatever is wrong with the new file, the old list stays, the status says why, and a good file ends it.
func TestOldListStays(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, path string)
		want   error // nil: any
	}{
		"removed":           {func(t *testing.T, path string) { os.Remove(path) }, fs.ErrNotExist},
		"empty":             {func(t *testing.T, path string) { write(t, path, "") }, ErrCutOff},
		"emptied in place":  {func(t *testing.T, path string) { overwrite(t, path, "") }, ErrCutOff},
		"only notes":        {func(t *testing.T, path string) { write(t, path, "# nothing\n") }, ErrEmpty},
		"cut off":           {func(t *testing.T, path string) { write(t, path, many(200)+"10.9") }, ErrCutOff},
		"cut off at a line": {func(t *testing.T, path string) { write(t, path, many(99)) }, ErrShrunk},
		"a web page":        {func(t *testing.T, path string) { write(t, path, "<html>\n") }, nil},
		"one bad line":      {func(t *testing.T, path string) { write(t, path, many(200)+"10.0.0.7/8\n") }, nil},
		"a directory":       {func(t *testing.T, path string) { os.Remove(path); os.Mkdir(path, 0o700) }, nil},
		"a dangling link":   {func(t *testing.T, path string) { os.Remove(path); os.Symlink(path+".none", path) }, fs.ErrNotExist},
		"a link to itself":  {func(t *testing.T, path string) { os.Remove(path); os.Symlink(path, path) }, nil},
		"too large":         {func(t *testing.T, path string) { os.Truncate(path, MaxFileSize+1) }, nil},
		"zeros":             {func(t *testing.T, path string) { write(t, path, strings.Repeat("\x00", 1000)) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			old := many(199) + "203.0.113.7\n"
			f := open(t, old)
			c.damage(t, f.path)
			for range 5 {
				if f.Look(false) || !f.Contains(bad) || f.Status().Entries != 200 {
					t.Fatal("the old list is not in force")
				}
			}
			fault := f.Status().Fault
			if fault == nil || c.want != nil && !errors.Is(fault, c.want) || !strings.Contains(fault.Error(), f.path) {
				t.Errorf("fault %v, want %v with the path", fault, c.want)
			}
			if err := f.Reload(false); err == nil || err.Error() != fault.Error() || !f.Contains(bad) {
				t.Errorf("reload: %v", err)
			}
			if _, err := Open(f.path, false); err == nil && c.want != ErrShrunk {
				t.Error("a server would start with it")
			}
			os.RemoveAll(f.path)
			write(t, f.path, old+"192.0.2.1\n")
			if f.Look(false); f.Status().Fault == nil {
				t.Error("the fault ended before the file was read")
			}
			if !f.Look(false) || !f.Contains(good) || f.Status().Fault != nil {
				t.Errorf("a good file is not taken: %v", f.Status().Fault)
			}
		})
	}
}

// A file that comes back as it was ends the fault, and its list was in force all the time.
func TestFileComesBack(t *testing.T) {
	f := open(t, "203.0.113.7\n")
	if err := os.Rename(f.path, f.path+".away"); err != nil {
		t.Fatal(err)
	}
	if f.Look(false); f.Status().Fault == nil {
		t.Error("no fault")
	}
	if err := os.Rename(f.path+".away", f.path); err != nil {
		t.Fatal(err)
	}
	if f.Look(false) || f.Status().Fault != nil || !f.Contains(bad) {
		t.Errorf("fault %v", f.Status().Fault)
	}
	// One that was refused is refused again, for its own reason.
	write(t, f.path, "garbage\n")
	f.Look(false)
	f.Look(false)
	refusal := f.Status().Fault
	os.Rename(f.path, f.path+".away")
	f.Look(false)
	os.Rename(f.path+".away", f.path)
	if f.Look(false); f.Status().Fault != refusal {
		t.Errorf("fault %v, want %v", f.Status().Fault, refusal)
	}
}

func TestMayShrink(t *testing.T) {
	f := open(t, many(1000))
	shrink := func(n int, mayShrink, want bool) {
		t.Helper()
		text := "# of today\n" + many(n)
		write(t, f.path, text)
		f.Look(mayShrink)
		if got := f.Look(mayShrink); got != want {
			t.Errorf("to %d: taken %t: %v", n, got, f.Status().Fault)
		}
	}
	shrink(500, false, true)
	shrink(249, false, false)
	if !f.Look(true) || f.Status().Entries != 249 {
		t.Error("not taken once it may shrink")
	}
	shrink(124, false, false)
	shrink(125, false, true)
	shrink(63, false, true)
	shrink(1, false, true) // a list that is kept by hand
	shrink(0, false, false)
	shrink(0, true, true)
	write(t, f.path, "")
	if f.Look(true); f.Look(true) || !errors.Is(f.Status().Fault, ErrCutOff) {
		t.Errorf("a file without a byte: %v", f.Status().Fault)
	}
	if _, err := Open(f.path, true); !errors.Is(err, ErrCutOff) {
		t.Errorf("opened: %v", err)
	}
}

// A link that is turned to another file, as Kubernetes does, is another file.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "203.0.113.7\n")
	write(t, filepath.Join(dir, "b"), "192.0.2.100\n192.0.2.1\n")
	path := filepath.Join(dir, "list")
	if err := os.Symlink("a", path); err != nil {
		t.Skip(err)
	}
	f, err := Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	os.Symlink("b", path+".new")
	os.Rename(path+".new", path)
	if f.Look(false); !f.Look(false) || !f.Contains(good) {
		t.Errorf("not taken: %v", f.Status().Fault)
	}
}

// A file of the same size and time that is another file is another one.
func TestSameSizeAndTime(t *testing.T) {
	f := open(t, "203.0.113.7\n")
	overwrite(t, f.path+".new", "203.0.113.8\n")
	info, err := os.Stat(f.path)
	if err != nil {
		t.Fatal(err)
	}
	os.Chtimes(f.path+".new", info.ModTime(), info.ModTime())
	os.Rename(f.path+".new", f.path)
	if f.Look(false); !f.Look(false) || f.Contains(bad) {
		t.Error("not taken")
	}
}

// Reload needs no second look.
func TestReload(t *testing.T) {
	f := open(t, "203.0.113.7\n")
	write(t, f.path, "192.0.2.1\n")
	if err := f.Reload(false); err != nil || !f.Contains(good) {
		t.Errorf("%v", err)
	}
	write(t, f.path, "garbage\n")
	if err := f.Reload(false); err == nil || !f.Contains(good) {
		t.Error("garbage was taken")
	}
	if f.Look(false); f.Status().Fault == nil {
		t.Error("no fault")
	}
}
