//go:build unix

package bolt_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Suite{
		Open: func(t *testing.T) keyring.Store { return open(t, newPath(t)) },
		Reopen: func(t *testing.T, closed keyring.Store) keyring.Store {
			return open(t, closed.(*bolt.Store).Path())
		},
		Restore: func(t *testing.T, backup io.Reader) keyring.Store {
			path := newPath(t)
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(backup)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			return open(t, path)
		},
	}.Run(t)
}

// newPath names a store in a directory that does not exist yet.
func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "api_keys", "keys.db") }

func open(t testing.TB, path string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
