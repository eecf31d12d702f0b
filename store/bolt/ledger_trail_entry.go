package bolt

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"
)

// TrailEntry is an entry of the trail. Its hash covers the hash of the one
// before, its number, time and payload, and a salted hash of its details, so
// that they can be erased while what is left can still be verified.
type TrailEntry struct {
	Seq     uint64 // from 1, without a gap
	Time    time.Time
	Payload []byte
	Details []byte // nil if it has none, or none any more
	Erased  bool   // it had details
	Prev    [32]byte
	Hash    [32]byte

	salt       [16]byte
	commitment [32]byte // zero for an entry that never had details
	damaged    error    // why nothing but Seq is known
}

// What a hash is of; no other use of SHA-256 has the same beginning.
const (
	entryDomain   = "caddy-apikey trail entry 1\x00"
	detailsDomain = "caddy-apikey trail details 1\x00"
)

func commitTo(salt [16]byte, details []byte) [32]byte {
	b := append([]byte(detailsDomain), salt[:]...)
	return sha256.Sum256(append(b, details...))
}

// chain returns what the hash of e must be.
func (e *TrailEntry) chain() [32]byte {
	b := make([]byte, 0, len(entryDomain)+2*32+3*8+len(e.Payload))
	b = append(b, entryDomain...)
	b = append(b, e.Prev[:]...)
	b = binary.BigEndian.AppendUint64(b, e.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(milli(e.Time)))
	b = append(b, e.commitment[:]...)
	return sha256.Sum256(append(b, e.Payload...)) // nothing after it: its length needs no place
}

// How an entry's details are kept.
const (
	detailsNone byte = iota
	detailsKept
	detailsErased
)

// The value of an entry: its hash, time, kind of details, the length of its
// payload and that, then either salt and details, or what they were hashed to.
func (e *TrailEntry) encode() []byte {
	b := make([]byte, 0, 32+2*10+1+len(e.Payload)+32+len(e.Details)+sumSize)
	b = append(b, e.Hash[:]...)
	b = binary.AppendUvarint(b, uint64(milli(e.Time)))
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
		return append(append(b, e.salt[:]...), e.Details...)
	case detailsErased:
		return append(b, e.commitment[:]...)
	}
	return b
}

var errEntry = errors.New("not an entry of a trail")

// decode fills e from the record of a number. What it keeps of the record is a
// copy. Prev stays as it is.
func (e *TrailEntry) decode(k, v []byte) error {
	payload, err := unseal(bucketTrail, k, v)
	if err != nil {
		return err
	}
	if len(k) != 8 || len(payload) < 32 {
		return errEntry
	}
	e.Seq = binary.BigEndian.Uint64(k)
	b := payload[copy(e.Hash[:], payload):]
	ms, n := binary.Uvarint(b)
	if n <= 0 || n >= len(b) {
		return errEntry
	}
	e.Time = fromMilli(int64(ms))
	kind, b := b[n], b[n+1:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return errEntry
	}
	b = append([]byte(nil), b[n:]...)
	e.Payload, b = b[:size:size], b[size:]
	e.Details, e.Erased, e.salt, e.commitment = nil, false, [16]byte{}, [32]byte{}
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
