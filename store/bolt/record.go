package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// schemaVersion grows with every change of the layout, a new field of a record
// included. A file of a newer version is refused, so that an old program never
// drops what it does not know; within a version an unknown field is damage.
const schemaVersion = 2

var (
	bucketMeta    = []byte("meta")
	bucketKeys    = []byte("keys")
	bucketOrgs    = []byte("orgs")
	bucketDigests = []byte("digests")

	metaSchema = []byte("schema")
	metaState  = []byte("state")
)

// A record is its payload followed by a CRC-64 of its bucket, its key in the
// bucket and the payload. CRC-64 finds every burst of up to 64 bits and all
// else but for one case in 2^64; against somebody who can write to the file no
// unkeyed sum would help. The key is covered too, so that a value that ended up
// under another key is noticed.
const sumSize = 8

var (
	crcTable = crc64.MakeTable(crc64.ECMA)

	errSum = errors.New("checksum does not match")
)

func sum(bucket, key, payload []byte) uint64 {
	var frame [10]byte // bucket and length of key: no other split has the same bytes
	frame[0] = bucket[0]
	n := 1 + binary.PutUvarint(frame[1:], uint64(len(key)))
	c := crc64.Update(0, crcTable, frame[:n])
	c = crc64.Update(c, crcTable, key)
	return crc64.Update(c, crcTable, payload)
}

// seal appends the checksum to payload.
func seal(bucket, key, payload []byte) []byte {
	return binary.BigEndian.AppendUint64(payload, sum(bucket, key, payload))
}

// unseal returns the payload of value.
func unseal(bucket, key, value []byte) ([]byte, error) {
	if len(value) < sumSize {
		return nil, errors.New("too short")
	}
	payload := value[:len(value)-sumSize]
	if binary.BigEndian.Uint64(value[len(payload):]) != sum(bucket, key, payload) {
		return nil, errSum
	}
	return payload, nil
}

// schema says what the file is. Its layout never changes.
type schema struct {
	version uint32
	store   [16]byte // random, to tell stores apart
}

const schemaMagic = "caddy-apikey"

func (s *schema) encode() []byte {
	b := append([]byte(nil), schemaMagic...)
	b = binary.BigEndian.AppendUint32(b, s.version)
	b = append(b, s.store[:]...)
	return seal(bucketMeta, metaSchema, b)
}

func (s *schema) decode(value []byte) error {
	b, err := unseal(bucketMeta, metaSchema, value)
	if err != nil {
		return err
	}
	if len(b) != len(schemaMagic)+4+16 || string(b[:len(schemaMagic)]) != schemaMagic {
		return errors.New("not a schema record")
	}
	b = b[len(schemaMagic):]
	s.version = binary.BigEndian.Uint32(b)
	copy(s.store[:], b[4:])
	return nil
}

// head is the record that every commit replaces.
type head struct {
	cursor  keyring.Cursor
	keys    uint64 // how many records there are in each bucket
	orgs    uint64
	digests uint64
	trail   audit.Chain
}

const headLen = 40 + audit.ChainLen

func (h *head) encode() []byte {
	b := make([]byte, 0, headLen+sumSize)
	b = binary.BigEndian.AppendUint64(b, h.cursor.Revision)
	b = append(b, h.cursor.Mark[:]...)
	b = binary.BigEndian.AppendUint64(b, h.keys)
	b = binary.BigEndian.AppendUint64(b, h.orgs)
	b = binary.BigEndian.AppendUint64(b, h.digests)
	b, _ = h.trail.AppendBinary(b) // never fails
	return seal(bucketMeta, metaState, b)
}

func (h *head) decode(value []byte) error {
	b, err := unseal(bucketMeta, metaState, value)
	if err != nil {
		return err
	}
	if len(b) != headLen {
		return errors.New("wrong length")
	}
	h.cursor.Revision = binary.BigEndian.Uint64(b)
	copy(h.cursor.Mark[:], b[8:])
	h.keys = binary.BigEndian.Uint64(b[16:])
	h.orgs = binary.BigEndian.Uint64(b[24:])
	h.digests = binary.BigEndian.Uint64(b[32:])
	return h.trail.UnmarshalBinary(b[40:])
}

// decodeRecord decodes the value of id in bucket into a keyring.Record, with
// Damaged set where it is not what was written.
func (d *decoder) record(bucket, id, value []byte) keyring.Record {
	var rec keyring.Record
	payload, err := unseal(bucket, id, value)
	if err == nil && bucket[0] == bucketKeys[0] {
		rec.Key = new(keyring.Key)
		err = d.key(rec.Key, payload)
		rec.Key.ID = string(id)
	} else if err == nil {
		rec.Org = new(keyring.Org)
		err = d.org(rec.Org, payload)
		rec.Org.Name = string(id)
	}
	if err != nil {
		return keyring.Record{ID: string(id), Damaged: fmt.Errorf("record %q: %w: %w", id, keyring.ErrDamaged, err)}
	}
	return rec
}
