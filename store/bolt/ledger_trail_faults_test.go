//go:build unix

package bolt_test

import (
	"slices"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

// TestTrailFaults changes a trail behind the ledger's back, with checksums that
// are right: verifying says where.
func TestTrailFaults(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, b *bbolt.Bucket)
		want   []string
	}{
		"payload": {func(t *testing.T, b *bbolt.Bucket) {
			reseal(t, b, 700, func(v []byte) []byte { v[50] ^= 1; return v })
		}, []string{"700 changed, or the one before it was"}},
		"details": {func(t *testing.T, b *bbolt.Bucket) {
			reseal(t, b, 700, func(v []byte) []byte { v[len(v)-1] ^= 1; return v })
		}, []string{"700 changed, or the one before it was"}},
		"details taken away": {func(t *testing.T, b *bbolt.Bucket) {
			reseal(t, b, 700, func(v []byte) []byte { v[38] = 0; return v[:len(v)-16-len(draft(699).Details)] })
		}, []string{"700 changed, or the one before it was"}},
		"hash": {func(t *testing.T, b *bbolt.Bucket) {
			reseal(t, b, 700, func(v []byte) []byte { v[0] ^= 1; return v })
		}, []string{"700 changed, or the one before it was", "701 changed, or the one before it was"}},
		"checksum": {func(t *testing.T, b *bbolt.Bucket) {
			v := slices.Clone(b.Get(seqKey(700)))
			v[50] ^= 1
			must(t, b.Put(seqKey(700), v))
		}, []string{"700 damaged: checksum does not match"}},
		"removed": {func(t *testing.T, b *bbolt.Bucket) {
			for seq := range uint64(3) {
				must(t, b.Delete(seqKey(700+seq)))
			}
		}, []string{"700 missing, up to 702"}},
		"swapped": {func(t *testing.T, b *bbolt.Bucket) {
			one, two := unsealed(b, 700), unsealed(b, 701)
			must(t, b.Put(seqKey(700), bolt.SealTrail(seqKey(700), two)))
			must(t, b.Put(seqKey(701), bolt.SealTrail(seqKey(701), one)))
		}, []string{"700 changed, or the one before it was", "701 changed, or the one before it was", "702 changed, or the one before it was"}},
		"first removed": {func(t *testing.T, b *bbolt.Bucket) { must(t, b.Delete(seqKey(1))) }, []string{"1 missing, up to 1"}},
		"cut off":       {func(t *testing.T, b *bbolt.Bucket) { must(t, b.Delete(seqKey(1000))); must(t, b.Delete(seqKey(999))) }, []string{"999 cut off: 2 entries are missing"}},
		"all removed": {func(t *testing.T, b *bbolt.Bucket) {
			for seq := range uint64(1000) {
				must(t, b.Delete(seqKey(seq+1)))
			}
		}, []string{"1 cut off: 1000 entries are missing"}},
		"added": {func(t *testing.T, b *bbolt.Bucket) {
			must(t, b.Put(seqKey(1001), bolt.SealTrail(seqKey(1001), unsealed(b, 1000))))
		}, []string{"1001 added behind the end"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := ledgerPath(t)
			must(t, fillTrail(t, path, 1000).Close())
			edit(t, path, func(tx *bbolt.Tx) error { c.change(t, tx.Bucket([]byte("trail"))); return nil })
			l := openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
			verify(t, l, c.want...)
		})
	}
}

// TestTrailPurgeUnseen: that the beginning is gone is told by an entry, and not
// only by the record that says where it begins.
func TestTrailPurgeUnseen(t *testing.T) {
	path := ledgerPath(t)
	l := fillTrail(t, path, 100)
	entry := trailOf(t, l, 49)[0]
	must(t, l.Close())
	edit(t, path, func(tx *bbolt.Tx) error {
		for seq := range uint64(50) {
			must(t, tx.Bucket([]byte("trail")).Delete(seqKey(seq+1)))
		}
		meta := tx.Bucket([]byte("meta"))
		return meta.Put([]byte("state"), bolt.LedgerStatePurged(meta.Get([]byte("state")), entry.Seq, entry.Hash))
	})
	l = openLedger(t, path, bolt.LedgerOptions{Keep: bigKeep})
	verify(t, l, "51 no entry tells that those before it were purged")
}
