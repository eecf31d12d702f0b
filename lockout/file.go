package lockout

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"time"
)

// A saved table is a line that names the format, the wall clock's time, the rules, the records of locks,
// the counters that are more than half-way to their limit, and the SHA-256 of all that. Numbers are
// big-endian; times are nanoseconds from now on, or until now.
const fileFormat = "caddy lockouts 1\n"

// ErrFile is a saved table that cannot be read, or not in full.
var ErrFile = errors.New("the saved locks are damaged, or of another version")

type savedRule struct {
	On     uint16
	Limit  uint16
	Window int64
}

type savedLock struct {
	Addr                   [16]byte
	Bits                   uint8
	Age, Remaining, Forget int64
	Times                  uint32
	Rule                   uint16
	Reason                 uint8 // its length; the text follows
}

type savedCounter struct {
	Addr   [16]byte
	Rule   uint16
	Age    int64
	Counts [steps]uint16
}

// Save writes the locks, and the counters that are more than half-way to their limit.
func (t *Table) Save(w io.Writer) error {
	wall, now := time.Now().UnixNano(), t.now()
	used := ruleList{of: t, numbers: map[uint16]uint16{0: 0}}
	var kept []savedLock
	var reasons []string
	t.locks.each(func(key lockKey, record lock, reason string) {
		if record.until > now || record.forget > now {
			kept = append(kept, savedLock{
				key.addr, key.bits, now - record.since, record.until - now, record.forget - now,
				record.times, used.number(record.rule), uint8(len(reason)),
			})
			reasons = append(reasons, reason)
		}
	})
	var counted []savedCounter
	rules := *t.rules.Load()
	t.counters.each(rules, now, func(c counter, total int) {
		if near(total, rules[c.rule].Limit) {
			counted = append(counted, savedCounter{c.addr, used.number(c.rule), now - c.start, c.counts})
		}
	})

	sum := sha256.New()
	b := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	put := func(v any) { _ = binary.Write(b, binary.BigEndian, v) } // b keeps its first error
	put([]byte(fileFormat))
	put(wall)
	put(uint32(len(used.rules)))
	for _, r := range used.rules {
		put(savedRule{uint16(r.On), uint16(r.Limit), int64(r.Window)})
	}
	put(uint32(len(kept)))
	for i, l := range kept {
		put(l)
		put([]byte(reasons[i]))
	}
	put(uint32(len(counted)))
	for _, c := range counted {
		put(c)
	}
	if err := b.Flush(); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// ruleList numbers the rules that a file needs.
type ruleList struct {
	of      *Table
	rules   []Rule
	numbers map[uint16]uint16 // by those of the table
}

func (l *ruleList) number(id uint16) uint16 {
	n, known := l.numbers[id]
	if !known {
		l.rules = append(l.rules, (*l.of.rules.Load())[id])
		n = uint16(len(l.rules))
		l.numbers[id] = n
	}
	return n
}

// Load fills a table that nobody uses yet with one that was saved. It fails with ErrFile if that is not
// a whole file of Save; the table must not be used then.
func (t *Table) Load(from io.Reader) error {
	in := &fileReader{r: bufio.NewReaderSize(from, 1<<16), sum: sha256.New()}
	header := make([]byte, len(fileFormat))
	in.get(header)
	if !bytes.Equal(header, []byte(fileFormat)) {
		return ErrFile
	}
	var saved int64
	in.get(&saved)
	passed := max(0, time.Now().UnixNano()-saved)
	now := t.now()
	ids, err := t.loadRules(in)
	if err != nil {
		return err
	}
	if err := t.loadLocks(in, ids, now, passed); err != nil {
		return err
	}
	if err := t.loadCounters(in, ids, now-passed); err != nil {
		return err
	}
	sum := in.sum.Sum(nil)
	found := make([]byte, len(sum))
	in.get(found)
	if in.err != nil || !bytes.Equal(found, sum) {
		return ErrFile
	}
	if _, err := in.r.ReadByte(); err != io.EOF {
		return ErrFile
	}
	return nil
}

// loadRules returns the numbers that the rules of the file have here.
func (t *Table) loadRules(in *fileReader) (ids []uint16, err error) {
	ids = []uint16{0}
	for n := in.count(); n > 0; n-- {
		var r savedRule
		in.get(&r)
		rule := Rule{Outcome(r.On), int(r.Limit), time.Duration(r.Window)}
		if in.err != nil || rule.validate() != nil {
			return nil, ErrFile
		}
		id, err := t.ruleID(rule)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (t *Table) loadLocks(in *fileReader, ids []uint16, now, passed int64) error {
	for n := in.count(); n > 0; n-- {
		var l savedLock
		in.get(&l)
		reason := make([]byte, l.Reason)
		in.get(reason)
		if in.err != nil || int(l.Rule) >= len(ids) || l.Bits > 128 || !plausible(l.Age) || !plausible(l.Remaining) || !plausible(l.Forget) {
			return ErrFile
		}
		record := lock{
			since: now - passed - l.Age,
			until: now + l.Remaining - passed, forget: now + l.Forget - passed,
			times: l.Times, rule: ids[l.Rule],
		}
		key := lockKey{l.Addr, l.Bits}
		if prefix := key.prefix(); prefix != prefix.Masked() {
			return ErrFile
		}
		if record.until <= now && record.forget <= now {
			continue
		}
		s := t.locks.shard(key)
		s.mu.Lock()
		t.locks.put(s, key, record, string(reason))
		s.mu.Unlock()
	}
	return nil
}

// plausible reports whether a span of time can be one of a lock; no sum of two overflows.
func plausible(d int64) bool { return -2*int64(MaxLock) <= d && d <= 2*int64(MaxLock) }

func (t *Table) loadCounters(in *fileReader, ids []uint16, then int64) error {
	rules := *t.rules.Load()
	for n := in.count(); n > 0; n-- {
		var c savedCounter
		in.get(&c)
		if in.err != nil || int(c.Rule) >= len(ids) || c.Rule == 0 || c.Age < 0 || !plausible(c.Age) {
			return ErrFile
		}
		key := counterKey{c.Addr, ids[c.Rule]}
		s, hash := t.counters.shard(key)
		s.mu.Lock()
		if s.find(key, hash) < 0 {
			if i := t.counters.insert(s, rules, key, hash, then); i >= 0 {
				s.slots[i].start, s.slots[i].counts = then-c.Age, c.Counts
			}
		}
		s.mu.Unlock()
	}
	return nil
}

// fileReader reads fields and hashes what it has read. After an error it reads nothing.
type fileReader struct {
	r   *bufio.Reader
	sum hash.Hash
	err error
}

func (in *fileReader) get(v any) {
	if in.err == nil {
		in.err = binary.Read(io.TeeReader(in.r, in.sum), binary.BigEndian, v)
	}
}

// count reads how many records follow.
func (in *fileReader) count() (n uint32) {
	in.get(&n)
	return n
}
