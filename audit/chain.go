package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"
)

// Chain says where a trail begins and ends. The zero value is an empty trail. A
// store keeps it in the record that every commit replaces.
type Chain struct {
	Purged     uint64   // the last entry that was purged, 0 for none
	PurgedHash [32]byte // what the first one that is there follows
	Last       uint64
	LastHash   [32]byte
}

// Append returns e at the end of the trail.
func (c *Chain) Append(e Entry) Entry {
	e.Seq, e.Prev = c.Last+1, c.LastHash
	e.Hash = e.chain()
	c.Last, c.LastHash = e.Seq, e.Hash
	return e
}

// Len is how many entries there are.
func (c *Chain) Len() uint64 { return c.Last - c.Purged }

// Purge forgets the entries up to last, which is one of the trail's, and returns
// what tells of it: it is to be appended.
func (c *Chain) Purge(last *Entry, now time.Time) Entry {
	count := last.Seq - c.Purged
	c.Purged, c.PurgedHash = last.Seq, last.Hash
	mark := checkpoint{c.Purged, c.PurgedHash}
	return NewEntry(Draft{Time: now.UTC(), Payload: mark.payload(count)})
}

// ChainLen is the length of an encoded Chain in bytes.
const ChainLen = 2 * (8 + 32)

// AppendBinary appends ChainLen bytes. It never fails.
func (c *Chain) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(b, c.Purged)
	b = append(b, c.PurgedHash[:]...)
	b = binary.BigEndian.AppendUint64(b, c.Last)
	return append(b, c.LastHash[:]...), nil
}

// UnmarshalBinary reads what AppendBinary wrote.
func (c *Chain) UnmarshalBinary(b []byte) error {
	if len(b) != ChainLen {
		return errors.New("not the ends of a trail")
	}
	c.Purged = binary.BigEndian.Uint64(b)
	b = b[8+copy(c.PurgedHash[:], b[8:]):]
	c.Last = binary.BigEndian.Uint64(b)
	copy(c.LastHash[:], b[8:])
	if c.Purged > c.Last {
		return errors.New("the trail ends before it begins")
	}
	return nil
}

// checkpoint is what an entry tells of those that were purged: the last one and
// its hash, which the first one that is kept follows.
type checkpoint struct {
	purged uint64
	hash   [32]byte
}

// checkpointBody is the payload of such an entry.
type checkpointBody struct {
	Action string `json:"action"`
	Actor  string `json:"actor"`
	Purged uint64 `json:"purged_to"`
	Hash   string `json:"hash"`
	Count  uint64 `json:"count"`
}

// ActionPurge is the action of the entries that tell what was purged.
const ActionPurge = "trail.purge"

func (c checkpoint) payload(count uint64) []byte {
	b, _ := json.Marshal(checkpointBody{ActionPurge, Server, c.purged, hex.EncodeToString(c.hash[:]), count}) // cannot fail
	return b
}

var checkpointStart = []byte(`{"action":"` + ActionPurge + `",`)

func parseCheckpoint(payload []byte) (c checkpoint, ok bool) {
	var body checkpointBody
	if !bytes.HasPrefix(payload, checkpointStart) || json.Unmarshal(payload, &body) != nil {
		return c, false
	}
	hash, err := hex.DecodeString(body.Hash)
	if err != nil || len(hash) != len(c.hash) {
		return c, false
	}
	c.purged = body.Purged
	copy(c.hash[:], hash)
	return c, true
}
