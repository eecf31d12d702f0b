//go:build unix

package bolt_test

import (
	"os/exec"
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
