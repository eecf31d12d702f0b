//go:build unix

package bolt_test

import (
	"encoding/binary"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

func mkfifo(t *testing.T, path string) {
	t.Helper()
	must(t, syscall.Mkfifo(path, 0o600))
}

func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

func setSchema(t *testing.T, path string, version uint32) {
	t.Helper()
	edit(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), bolt.SchemaRecord(version))
	})
}

func setLedgerVersion(t *testing.T, path string, version uint32) {
	t.Helper()
	edit(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), bolt.LedgerSchemaRecord(version))
	})
}

func setLedgerState(t *testing.T, path string, state []byte) {
	t.Helper()
	edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("state"), state) })
}

// spoilRecord changes a byte of a record in the middle of a ledger's bucket.
func spoilRecord(t *testing.T, path, bucket string) {
	t.Helper()
	edit(t, path, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if bucket == "days" {
			day, _ := b.Cursor().First()
			b = b.Bucket(day)
		}
		n := b.Stats().KeyN/2 + 1
		c := b.Cursor()
		k, v := c.First()
		for range n - 1 {
			k, v = c.Next()
		}
		v = slices.Clone(v)
		v[0] ^= 0x10
		return b.Put(slices.Clone(k), v)
	})
}

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// unsealed is the content of an entry of the trail.
func unsealed(b *bbolt.Bucket, seq uint64) []byte {
	v := slices.Clone(b.Get(seqKey(seq)))
	return v[:len(v)-8]
}

// reseal changes an entry of the trail and makes its checksum right.
func reseal(t *testing.T, b *bbolt.Bucket, seq uint64, change func(v []byte) []byte) {
	t.Helper()
	must(t, b.Put(seqKey(seq), bolt.SealTrail(seqKey(seq), change(unsealed(b, seq)))))
}
