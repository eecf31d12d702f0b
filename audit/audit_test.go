package audit

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.UnixMilli(1_800_000_000_000).UTC()

// memory is a trail in memory.
type memory struct {
	chain   Chain
	entries []Entry
}

func (m *memory) append(d Draft) {
	m.entries = append(m.entries, m.chain.Append(NewEntry(d)))
}

// read reads a few entries, as they come from a store: without Prev.
func (m *memory) read(after uint64) (slice []Entry, at Chain, err error) {
	for _, e := range m.entries {
		if e.Seq > after && after != Nowhere && len(slice) < 7 {
			e.Prev = [32]byte{}
			slice = append(slice, e)
		}
	}
	return slice, m.chain, nil
}

func filled(count int) *memory {
	m := new(memory)
	for n := range count {
		m.append(Draft{now.Add(time.Duration(n) * time.Second), fmt.Appendf(nil, `{"n":%d}`, n), fmt.Appendf(nil, `{"addr":"192.0.2.%d"}`, n)})
	}
	return m
}

func TestVerify(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *memory)
		want   []string
	}{
		"nothing":                  {func(*memory) {}, nil},
		"all erased":               {func(m *memory) { each(m, (*Entry).Erase) }, nil},
		"payload":                  {func(m *memory) { m.entries[19].Payload[1] ^= 1 }, []string{"20 changed, or the one before it was"}},
		"time":                     {func(m *memory) { m.entries[19].Time = now }, []string{"20 changed, or the one before it was"}},
		"removed":                  {func(m *memory) { m.entries = slices.Delete(m.entries, 19, 22) }, []string{"20 missing, up to 22"}},
		"first removed":            {func(m *memory) { m.entries = m.entries[2:] }, []string{"1 missing, up to 2"}},
		"cut off":                  {func(m *memory) { m.entries = m.entries[:40] }, []string{"41 cut off: 10 entries are missing"}},
		"damaged":                  {func(m *memory) { m.entries[19] = Entry{Seq: 20, Damaged: errEntry} }, []string{"20 damaged: not an entry of a trail"}},
		"behind":                   {func(m *memory) { m.entries = append(m.entries, Entry{Seq: 51}) }, []string{"51 added behind the end"}},
		"another end":              {func(m *memory) { m.chain.LastHash[0] ^= 1 }, []string{"50 it was not the last entry"}},
		"purged":                   {func(m *memory) { m.purge(30) }, nil},
		"purged twice":             {func(m *memory) { m.purge(30); m.purge(20) }, nil},
		"purged, and more is gone": {func(m *memory) { m.purge(30); m.entries = m.entries[1:] }, []string{"31 missing, up to 31"}},
		"purged, and something is left": {func(m *memory) {
			left := m.entries[10]
			m.purge(30)
			m.entries = append([]Entry{left}, m.entries...)
		}, []string{"11 added before the beginning"}},
		"purged without a word": {func(m *memory) {
			m.purge(30)
			m.entries, m.chain.Last, m.chain.LastHash = m.entries[:20], 50, m.entries[19].Hash
		}, []string{"31 no entry tells that those before it were purged"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := filled(50)
			c.change(m)
			r, err := Verify(t.Context(), m.read)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range r.Faults {
				got = append(got, fmt.Sprintf("%d %s", f.Seq, f.What))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("faults: %q\nwant: %q", got, c.want)
			}
		})
	}
}

func each(m *memory, fn func(*Entry)) {
	for i := range m.entries {
		fn(&m.entries[i])
	}
}

func (m *memory) purge(count int) {
	told := m.chain.Purge(&m.entries[count-1], now)
	m.entries = append(m.entries[count:], m.chain.Append(told))
}

// TestErasedCommitment: details cannot be replaced, nor taken away as if there
// had been none.
func TestErasedCommitment(t *testing.T) {
	for name, change := range map[string]func(e *Entry){
		"replaced": func(e *Entry) { e.Details = []byte(`{"addr":"198.51.100.1"}`) },
		"denied":   func(e *Entry) { e.Details, e.commitment = nil, [32]byte{} },
		"salt":     func(e *Entry) { e.salt[0] ^= 1 },
	} {
		m := filled(3)
		change(&m.entries[1])
		each(m, func(e *Entry) { // through the store
			b, _ := e.AppendBinary(nil)
			if err := e.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
		})
		r, err := Verify(t.Context(), m.read)
		if err != nil || len(r.Faults) != 1 || r.Faults[0].Seq != 2 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestVerifyCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, filled(50).read); err != context.Canceled {
		t.Error(err)
	}
}

func TestFaultsBounded(t *testing.T) {
	m := filled(1000)
	each(m, func(e *Entry) { e.Payload[1] ^= 1 })
	if r, err := Verify(t.Context(), m.read); err != nil || len(r.Faults) != maxFaults || !r.More {
		t.Errorf("%d faults, more: %v, %v", len(r.Faults), r.More, err)
	}
}

func TestDraftCheck(t *testing.T) {
	for _, c := range []struct {
		payload, details int
		ok               bool
	}{{0, 0, false}, {0, 10, false}, {1, 0, true}, {MaxEntry, 0, true}, {MaxEntry - 1, 1, true}, {MaxEntry, 1, false}} {
		d := Draft{Payload: bytes.Repeat([]byte("x"), c.payload), Details: bytes.Repeat([]byte("x"), c.details)}
		if err := d.Check(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// FuzzEntry decodes arbitrary bytes: nothing panics, and what is taken is read
// again as it was.
func FuzzEntry(f *testing.F) {
	e := NewEntry(Draft{now, []byte("{}"), []byte("x")})
	for range 2 {
		b, _ := e.AppendBinary(nil)
		f.Add(b)
		e.Erase()
	}
	f.Add([]byte(strings.Repeat("\x00", 40)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again Entry
		if e.UnmarshalBinary(b) == nil {
			b, _ = e.AppendBinary(nil)
			if err := again.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(e, again) {
				t.Errorf("%+v, then %+v, %v", e, again, err)
			}
		}
		var c Chain
		if c.UnmarshalBinary(b) == nil {
			if again, _ := c.AppendBinary(nil); !bytes.Equal(again, b) {
				t.Errorf("%+v: %x, then %x", c, b, again)
			}
		}
	})
}
