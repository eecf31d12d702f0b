package bolt

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// create makes a new store at path. It is built and synced under a temporary
// name and then renamed, so that no crash leaves an empty or a half-built file
// where a store is expected: such a file always means damage.
func create(path string, build func(path string) error) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	defer dir.Close()
	// Two processes that start at once must not both build one. Where
	// directories cannot be locked, the loser notices that its file was
	// replaced and refuses to write.
	_ = waitLock(dir)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else was first; the caller looks at it
	}
	tmp, err := os.CreateTemp(dir.Name(), "."+filepath.Base(path)+".new-*") // 0600
	if err != nil {
		return createError(path, err)
	}
	defer os.Remove(tmp.Name()) // a no-op once renamed
	if err := tmp.Close(); err != nil {
		return createError(path, err)
	}
	if err := build(tmp.Name()); err != nil {
		return createError(path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return createError(path, err)
	}
	if err := syncDir(dir); err != nil {
		return createError(path, err)
	}
	return nil
}

func createError(path string, err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: creating store %s: %w", keyring.ErrFull, path, err)
	}
	return fmt.Errorf("creating store %s: %w", path, err)
}

// build writes an empty store into the empty file path.
func build(path string) (err error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: defaultTimeout, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketKeys, bucketOrgs, bucketDigests, bucketTrail} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		var s schema
		s.version = schemaVersion
		_, _ = rand.Read(s.store[:])
		var h head
		_, _ = rand.Read(h.cursor.Mark[:])
		meta := tx.Bucket(bucketMeta)
		if err := meta.Put(metaSchema, s.encode()); err != nil {
			return err
		}
		return meta.Put(metaState, h.encode())
	})
}
