//go:build unix

package bolt_test

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/store/storetest"
)

var flips = flag.Int("flips", 1, "how large a sample of bit flips TestBitFlips takes")

// verdict is what became of a spoilt file.
type verdict int

const (
	harmless   verdict = iota // everything reads as it was written
	refused                   // Open said so
	perRecord                 // Snapshot said which record
	wholeStore                // Snapshot failed
)

// judge opens the store of data and compares everything it says with want. A
// wrong answer that is not reported fails the test.
func judge(t *testing.T, path string, data []byte, want map[string]keyring.Record, what string) verdict {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o600))
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		if !errors.Is(err, keyring.ErrDamaged) {
			t.Errorf("%s: refused, but not as damaged: %v", what, err)
		}
		return refused
	}
	defer func() { must(t, s.Close()) }()

	got, damaged, err := read(t, s)
	if err != nil {
		if !errors.Is(err, keyring.ErrDamaged) {
			t.Errorf("%s: Snapshot: %v", what, err)
		}
		return wholeStore
	}
	for id, r := range got {
		if !reflect.DeepEqual(r, want[id]) {
			t.Errorf("%s: %s is silently wrong", what, id)
		}
	}
	if len(got)+damaged != len(want) {
		t.Errorf("%s: %d records and %d damaged ones, of %d", what, len(got), damaged, len(want))
	}
	for _, r := range want { // no wrong answer on the other ways either
		if r.Key == nil {
			continue
		}
		for _, c := range r.Key.Credentials {
			if c.Digest == [32]byte{} {
				continue
			}
			k, err := s.KeyByDigest(t.Context(), c.Digest)
			if err == nil && !reflect.DeepEqual(k, r.Key) || err != nil && !errors.Is(err, keyring.ErrDamaged) {
				t.Errorf("%s: KeyByDigest of %s: %v", what, r.Key.ID, err)
			}
		}
		k, err := s.Key(t.Context(), r.Key.ID)
		if err == nil && !reflect.DeepEqual(k, r.Key) || err != nil && damaged == 0 {
			t.Errorf("%s: Key %s: %v", what, r.Key.ID, err)
		}
	}
	if damaged > 0 {
		return perRecord
	}
	return harmless
}

func read(t *testing.T, s *bolt.Store) (all map[string]keyring.Record, damaged int, err error) {
	all = make(map[string]keyring.Record)
	_, err = s.Snapshot(t.Context(), func(r keyring.Record) error {
		switch {
		case r.Damaged != nil:
			if !errors.Is(r.Damaged, keyring.ErrDamaged) || r.Key != nil || r.Org != nil {
				t.Errorf("damaged record %q: %v", r.ID, r.Damaged)
			}
			damaged++
		case r.Key != nil:
			all["key "+r.Key.ID] = r
		default:
			all["org "+r.Org.Name] = r
		}
		return nil
	})
	return all, damaged, err
}

// original makes a small store with branch pages, free pages and a page that
// overflows, and returns its file and its content.
func original(t *testing.T) (data []byte, want map[string]keyring.Record, pageSize int) {
	t.Helper()
	path := newPath(t)
	s := open(t, path)
	big := storetest.FullKey(90)
	big.Metadata["big"] = string(bytes.Repeat([]byte("x"), 9000))
	for _, m := range [][]keyring.Mutation{
		keys(0, 60), {{Org: storetest.FullOrg("acme")}}, {{Org: storetest.Org("other")}}, {{Key: big}}, keys(60, 20), keys(80, 10),
	} {
		if _, err := s.Apply(t.Context(), m, storetest.Told()); err != nil {
			t.Fatal(err)
		}
	}
	want, _, err := read(t, s)
	must(t, err)
	must(t, s.Close())
	size := highWater(t, path)
	must(t, os.Truncate(path, size)) // what follows is not used
	data, err = os.ReadFile(path)
	must(t, err)
	return data, want, os.Getpagesize()
}

func spoiltPath(t *testing.T) string {
	path := newPath(t)
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	return path
}

// TestBitFlips flips single bits: all those of page headers and elements, and
// a sample of the rest. Each is harmless or noticed.
func TestBitFlips(t *testing.T) {
	data, want, pageSize := original(t)
	path := spoiltPath(t)
	rnd := rand.New(rand.NewPCG(1, uint64(*flips)))
	var tally [4]int
	try := func(bit int) {
		spoilt := bytes.Clone(data)
		spoilt[bit/8] ^= 1 << (bit % 8)
		tally[judge(t, path, spoilt, want, "bit "+itoa(bit))]++
	}
	headers := 8 * 96
	for page := range len(data) / pageSize {
		for range 8 * *flips {
			try(page*pageSize*8 + rnd.IntN(headers))
		}
	}
	for range 100 * *flips {
		try(rnd.IntN(len(data) * 8))
	}
	t.Logf("%d harmless, %d refused at open, %d told of one record, %d failed the snapshot", tally[harmless], tally[refused], tally[perRecord], tally[wholeStore])
	if tally[refused] == 0 || tally[perRecord] == 0 {
		t.Error("the sample does not reach all checks")
	}
}

// TestRecordFlips changes bytes of one record's value, wherever a copy of it
// is: in the page in use and in those that later commits have freed.
func TestRecordFlips(t *testing.T) {
	data, want, _ := original(t)
	path := spoiltPath(t)
	mark := []byte(storetest.FullKey(90).Purpose)
	var copies []int
	for at := 0; ; at++ {
		next := bytes.Index(data[at:], mark)
		if next < 0 {
			break
		}
		at += next
		copies = append(copies, at)
	}
	for offset := 0; offset < 3000; offset += 50 {
		spoilt := bytes.Clone(data)
		for _, at := range copies {
			spoilt[at+offset] ^= 0x10
		}
		if v := judge(t, path, spoilt, want, "offset "+itoa(offset)); v != perRecord {
			t.Errorf("offset %d of %d copies: verdict %d", offset, len(copies), v)
		}
	}
}

// TestSwappedValues exchanges the values of two keys: each checksum is right,
// but for another key.
func TestSwappedValues(t *testing.T) {
	path := newPath(t)
	fill(t, path, 20)
	swap(t, path, storetest.Key(3).ID, storetest.Key(4).ID)
	s := open(t, path)
	got, damaged, err := read(t, s)
	if err != nil || damaged != 2 || len(got) != 19 {
		t.Errorf("%d records, %d damaged, %v", len(got), damaged, err)
	}
	if _, err := s.Key(t.Context(), storetest.Key(3).ID); !errors.Is(err, keyring.ErrDamaged) {
		t.Errorf("Key: %v", err)
	}
	var ids []string
	must(t, s.Keys(t.Context(), "", func(k *keyring.Key) bool { ids = append(ids, k.ID); return true }))
	if len(ids) != 18 || slices.Contains(ids, storetest.Key(3).ID) {
		t.Errorf("Keys: %q", ids)
	}
	if _, err := s.Apply(t.Context(), []keyring.Mutation{{Key: storetest.Key(3)}}, storetest.Told()); !errors.Is(err, keyring.ErrDamaged) {
		t.Errorf("Apply over a damaged record: %v", err)
	}
	if _, err := s.Apply(t.Context(), keys(500, 1), storetest.Told()); err != nil {
		t.Errorf("Apply beside a damaged record: %v", err)
	}
}

func TestZeroedPages(t *testing.T) {
	data, want, pageSize := original(t)
	path := spoiltPath(t)
	for page := range len(data) / pageSize {
		spoilt := bytes.Clone(data)
		clear(spoilt[page*pageSize:][:pageSize])
		judge(t, path, spoilt, want, "page "+itoa(page))
		rnd := rand.New(rand.NewPCG(uint64(page), 1))
		for i := range spoilt[page*pageSize:][:pageSize] {
			spoilt[page*pageSize+i] = byte(rnd.Uint32())
		}
		judge(t, path, spoilt, want, "random page "+itoa(page))
		// Another page's content: right in itself, in the wrong place.
		copy(spoilt[page*pageSize:][:pageSize], data[(page+1)*pageSize%len(data):])
		judge(t, path, spoilt, want, "copied page "+itoa(page))
	}
}

func TestTruncations(t *testing.T) {
	data, want, pageSize := original(t)
	path := spoiltPath(t)
	for _, size := range []int{100, pageSize - 1, pageSize, 2 * pageSize, 2*pageSize + 1, len(data) / 100, len(data) / 2, len(data) * 99 / 100, len(data) - 1} {
		if v := judge(t, path, data[:size], want, itoa(size)+" bytes"); v != refused {
			t.Errorf("%d of %d bytes: %v", size, len(data), v)
		}
	}
	if v := judge(t, path, data, want, "all"); v != harmless {
		t.Errorf("untouched: %v", v)
	}
	if v := judge(t, path, append(bytes.Clone(data), make([]byte, 5*pageSize)...), want, "longer"); v != harmless {
		t.Errorf("longer: %v", v)
	}
}
