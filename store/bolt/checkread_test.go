package bolt

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// badDisk fails to read what covers one byte.
type badDisk struct {
	*bytes.Reader
	at int64
}

func (d badDisk) ReadAt(p []byte, off int64) (int, error) {
	if off <= d.at && d.at < off+int64(len(p)) {
		return 0, &fs.PathError{Op: "read", Path: "keys.db", Err: syscall.EIO}
	}
	return d.Reader.ReadAt(p, off)
}

// A meta page that cannot be read is not a damaged one: it may hold the last
// change, and the way out of damage writes over it.
func TestUnreadableMeta(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "keys.db")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := range int64(2) {
		_, err := newestMeta(badDisk{bytes.NewReader(data), page * int64(os.Getpagesize())})
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("page %d: %v", page, err)
		}
		err = metaError(path, nil, int64(len(data)), meta{}, err)
		if errors.Is(err, keyring.ErrDamaged) || !strings.Contains(err.Error(), "cannot be read") || strings.Contains(err.Error(), "dd ") {
			t.Errorf("page %d: %v", page, err)
		}
	}
	page := int64(3)
	c := &checker{window: window{f: badDisk{bytes.NewReader(data), page * int64(os.Getpagesize())}, pageSize: int64(os.Getpagesize())}}
	if _, err := c.window.page(uint64(page), 1, 0); !isReadError(err) {
		t.Errorf("another page: %v", err)
	}
}
