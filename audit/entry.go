package audit

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/milli"
)

// Entry is an entry of a trail. Its hash covers the hash of the one before, its
// number, time and payload, and a salted hash of its details, so that they can be
// erased while what is left can still be verified.
type Entry struct {
	Seq     uint64 // from 1, without a gap
	Time    time.Time
	Payload []byte
	Details []byte // nil if it has none, or none any more
	Erased  bool   // it had details
	Prev    [32]byte
	Hash    [32]byte

	// Damaged says why nothing but Seq is known. Only Verify is given such ones.
	Damaged error

	salt       [16]byte
	commitment [32]byte // zero for an entry that never had details
}

// What a hash is of; no other use of SHA-256 has the same beginning.
const (
	entryDomain   = "caddy-apikey trail entry 1\x00"
	detailsDomain = "caddy-apikey trail details 1\x00"
)

// NewEntry does for a draft what can be done before it has its place: see
// Chain.Append.
func NewEntry(d Draft) Entry {
	e := Entry{Time: d.Time, Payload: d.Payload, Details: d.Details}
	if len(d.Details) > 0 {
		_, _ = rand.Read(e.salt[:])
		e.commitment = commitTo(e.salt, d.Details)
	}
	return e
}

// Erase erases the details. The hash stays what it was.
func (e *Entry) Erase() {
	if len(e.Details) > 0 {
		e.Details, e.Erased, e.salt = nil, true, [16]byte{}
	}
}

func commitTo(salt [16]byte, details []byte) [32]byte {
	b := append([]byte(detailsDomain), salt[:]...)
	return sha256.Sum256(append(b, details...))
}

// chain returns what the hash of e must be.
func (e *Entry) chain() [32]byte {
	b := make([]byte, 0, len(entryDomain)+2*32+3*8+len(e.Payload))
	b = append(b, entryDomain...)
	b = append(b, e.Prev[:]...)
	b = binary.BigEndian.AppendUint64(b, e.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(milli.Of(e.Time)))
	b = append(b, e.commitment[:]...)
	return sha256.Sum256(append(b, e.Payload...)) // nothing after it: its length needs no place
}

// How an entry's details are kept.
const (
	detailsNone byte = iota
	detailsKept
	detailsErased
)

// AppendBinary appends what a store keeps of an entry, its number and Prev
// aside: its hash, time, kind of details, the length of its payload and that,
// then either salt and details, or what they were hashed to. It never fails.
func (e *Entry) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, e.Hash[:]...)
	b = binary.AppendUvarint(b, uint64(milli.Of(e.Time)))
	kind := detailsNone
	switch {
	case e.Erased:
		kind = detailsErased
	case len(e.Details) > 0:
		kind = detailsKept
	}
	b = append(b, kind)
	b = binary.AppendUvarint(b, uint64(len(e.Payload)))
	b = append(b, e.Payload...)
	switch kind {
	case detailsKept:
		b = append(append(b, e.salt[:]...), e.Details...)
	case detailsErased:
		b = append(b, e.commitment[:]...)
	}
	return b, nil
}

// errEntry: the bytes are not what AppendBinary makes.
var errEntry = errors.New("not an entry of a trail")

// parse takes apart what AppendBinary wrote, of which it keeps no copy: rest is
// what follows the payload.
func parse(data []byte) (at time.Time, kind byte, payload, rest []byte, ok bool) {
	if len(data) < sha256.Size {
		return
	}
	b := data[sha256.Size:]
	ms, n := binary.Uvarint(b)
	if n <= 0 || n >= len(b) {
		return
	}
	kind, b = b[n], b[n+1:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return
	}
	b = b[n:]
	return milli.Time(int64(ms)), kind, b[:size:size], b[size:], true
}

// UnmarshalBinary reads what AppendBinary wrote, of which it keeps a copy. Seq
// and Prev stay as they are.
func (e *Entry) UnmarshalBinary(data []byte) error {
	at, kind, payload, b, ok := parse(bytes.Clone(data))
	if !ok {
		return errEntry
	}
	copy(e.Hash[:], data)
	e.Time, e.Payload = at, payload
	e.Details, e.Erased, e.Damaged, e.salt, e.commitment = nil, false, nil, [16]byte{}, [32]byte{}
	switch {
	case kind == detailsNone && len(b) == 0:
	case kind == detailsKept && len(b) > len(e.salt):
		e.Details = b[copy(e.salt[:], b):]
		e.commitment = commitTo(e.salt, e.Details)
	case kind == detailsErased && len(b) == len(e.commitment):
		copy(e.commitment[:], b)
		e.Erased = true
	default:
		return errEntry
	}
	return nil
}
