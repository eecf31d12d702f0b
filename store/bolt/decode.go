package bolt

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// decoder decodes records. It hands out the same string for the values that
// many keys share (orgs, scopes, tiers), which saves most of the memory of a
// large key set, and never a string that keeps a record alive. It is for one
// goroutine; the zero value is ready.
type decoder struct {
	shared map[string]string
}

const (
	maxShared    = 4096 // strings
	maxSharedLen = 64
)

func (d *decoder) share(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := d.shared[string(b)]; ok {
		return s
	}
	s := string(b)
	if d.shared == nil {
		d.shared = make(map[string]string)
	}
	if len(d.shared) < maxShared && len(s) <= maxSharedLen {
		d.shared[s] = s
	}
	return s
}

// fields reads the fields of one message, strictly: in ascending order, only
// once unless repeated, nothing after the last.
type fields struct {
	rest []byte
	last protowire.Number

	num   protowire.Number
	bytes []byte // of a length-prefixed field, else nil
	value uint64 // of a varint field
	err   error
}

var errField = errors.New("malformed field")

// next moves to the next field; repeated has the numbers that may repeat.
func (f *fields) next(repeated uint32) bool {
	if len(f.rest) == 0 || f.err != nil {
		return false
	}
	num, typ, n := protowire.ConsumeTag(f.rest)
	if n < 0 {
		return f.fail(errField)
	}
	if num < f.last || num > maxFieldNumber || num == f.last && repeated&(1<<num) == 0 {
		return f.fail(fmt.Errorf("field %d out of order", num))
	}
	f.rest = f.rest[n:]
	f.num, f.last, f.bytes, f.value = num, num, nil, 0
	switch typ {
	case protowire.VarintType:
		if f.value, n = protowire.ConsumeVarint(f.rest); n < 0 {
			return f.fail(errField)
		}
	case protowire.BytesType:
		if f.bytes, n = protowire.ConsumeBytes(f.rest); n < 0 {
			return f.fail(errField)
		}
		if f.bytes == nil {
			f.bytes = []byte{}
		}
	default:
		return f.fail(errField)
	}
	f.rest = f.rest[n:]
	return true
}

func (f *fields) fail(err error) bool {
	f.err = err
	return false
}

// unknown refuses the current field: no number of this schema has its type.
func (f *fields) unknown() { f.err = fmt.Errorf("field %d is not known", f.num) }

// more counts the current field and those of the same number that follow.
func (f *fields) more() int {
	n := 1
	for rest := f.rest; len(rest) > 0; n++ {
		num, typ, size := protowire.ConsumeTag(rest)
		if size < 0 || num != f.num || typ != protowire.BytesType {
			break
		}
		rest = rest[size:]
		if size = protowire.ConsumeFieldValue(num, typ, rest); size < 0 {
			break
		}
		rest = rest[size:]
	}
	return n
}

func (f *fields) time() time.Time { return time.UnixMilli(protowire.DecodeZigZag(f.value)).UTC() }

func (f *fields) uint32() uint32 {
	if f.value > math.MaxUint32 {
		f.err = errField
	}
	return uint32(f.value)
}

func (f *fields) prefix() (p netip.Prefix) {
	if len(f.bytes) != 5 && len(f.bytes) != 17 || p.UnmarshalBinary(f.bytes) != nil || !p.IsValid() {
		f.err = errField
	}
	return p
}

func (f *fields) strings(d *decoder, list []string) []string {
	if list == nil {
		list = make([]string, 0, f.more())
	}
	return append(list, d.share(f.bytes))
}

func (f *fields) prefixes(list []netip.Prefix) []netip.Prefix {
	if list == nil {
		list = make([]netip.Prefix, 0, f.more())
	}
	return append(list, f.prefix())
}

func (f *fields) limits(list []limit.Limit) []limit.Limit {
	l, err := limit.Parse(string(f.bytes))
	if err != nil {
		f.err = errField
	}
	return append(list, l)
}

func (f *fields) entry(d *decoder, m map[string]string) map[string]string {
	if m == nil {
		m = make(map[string]string, f.more())
	}
	var k, v string
	e := fields{rest: f.bytes}
	for e.next(0) {
		switch {
		case e.bytes != nil && e.num == entryKey:
			k = d.share(e.bytes)
		case e.bytes != nil && e.num == entryValue:
			v = d.share(e.bytes)
		default:
			e.unknown()
		}
	}
	if _, twice := m[k]; twice || e.err != nil {
		f.err = errField
	}
	m[k] = v
	return m
}

func state(b []byte) keyring.State {
	for _, s := range [...]keyring.State{keyring.StateActive, keyring.StateSuspended, keyring.StateRevoked, keyring.StateDeleted} {
		if string(b) == string(s) {
			return s
		}
	}
	return keyring.State(b)
}

// peek reads what Apply has to know of a stored record.
func peek(payload []byte) (revision uint64, st keyring.State, err error) {
	f := fields{rest: payload}
	for f.next(math.MaxUint32) && f.num <= fieldRevision {
		switch f.num {
		case fieldState:
			st = state(f.bytes)
		case fieldRevision:
			revision = f.value
		}
	}
	return revision, st, f.err
}

func (f *fields) fingerprints(list []keyring.Fingerprint) []keyring.Fingerprint {
	if len(f.bytes) != len(keyring.Fingerprint{}) {
		f.unknown()
		return list
	}
	return append(list, keyring.Fingerprint(f.bytes))
}
