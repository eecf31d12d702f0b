package keyring

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
)

// The cold table has, for each key, what no decision needs: one packed record
// per slot, pages of them in one array of bytes each. Packed, because strings
// and maps of a million keys would cost more than all the rest, and would be
// walked by every garbage collection.
const coldPageKeys = 256

type coldPage struct {
	blob []byte
	ends [coldPageKeys]uint32 // where each slot's record ends in blob
}

// coldOf returns the record of a slot.
func coldOf(pages []*coldPage, slot uint32) cold {
	page, i := pages[slot/coldPageKeys], slot%coldPageKeys
	start := uint32(0)
	if i > 0 {
		start = page.ends[i-1]
	}
	return cold(page.blob[start:page.ends[i]])
}

// set replaces the record of place i.
func (p *coldPage) set(i int, record []byte) {
	start, end := 0, int(p.ends[i])
	if i > 0 {
		start = int(p.ends[i-1])
	}
	if n := len(p.blob) + len(record); n > cap(p.blob) && end == len(p.blob) {
		// Pages fill from the front, with records much alike.
		p.blob = append(make([]byte, 0, min(n*coldPageKeys/(i+1)+64, 2*n+1<<14)), p.blob...)
	}
	p.blob = slices.Replace(p.blob, start, end, record...)
	delta := uint32(len(record) - (end - start)) // wraps around for a shorter one, as intended
	for j := i; j < coldPageKeys; j++ {
		p.ends[j] += delta
	}
}

func (p *coldPage) clone() *coldPage {
	return &coldPage{slices.Clone(p.blob), p.ends}
}

// seal gives back room that bulk loading left over.
func (p *coldPage) seal() {
	if n := len(p.blob); cap(p.blob)-n > 64+n/16 {
		p.blob = slices.Clone(p.blob)
	}
}

// cold is the packed record of one key: a byte of flags, the id, the slot of
// the profile, when a rotation began, the credentials as number, hash of the digest (so that their
// hot records are found when only the key is known) and what verifies their
// signatures, name, owner, tags, and metadata sorted by name. Numbers are
// uvarints, strings have their length before them. The empty record is a free
// slot.
type cold []byte

const (
	coldState   = 3 // mask of the state's code
	coldRegular = 4 // the id is packed
)

// appendCold packs a key; hashes are those of its credentials.
func appendCold(dst []byte, k *Key, id *packedID, profile uint32, hashes []uint64) []byte {
	flags := stateCode(k.State)
	if id.regular {
		dst = append(dst, flags|coldRegular)
		dst = append(dst, id.packed[:]...)
	} else {
		dst = append(dst, flags)
		dst = appendString(dst, id.text)
	}
	dst = binary.AppendUvarint(dst, uint64(profile))
	var rotated int64
	if k.Rotation != nil {
		rotated = unixMilli(k.Rotation.StartedAt)
	}
	dst = binary.AppendUvarint(dst, uint64(rotated))
	dst = binary.AppendUvarint(dst, uint64(len(k.Credentials)))
	for i := range k.Credentials {
		dst = binary.AppendUvarint(dst, uint64(k.Credentials[i].N))
		dst = binary.LittleEndian.AppendUint64(dst, hashes[i])
		material := k.Credentials[i].material()
		dst = append(binary.AppendUvarint(dst, uint64(len(material))), material...)
	}
	dst = appendString(dst, k.Name)
	dst = appendString(dst, k.Owner)
	dst = appendStrings(dst, k.Tags)
	dst = binary.AppendUvarint(dst, uint64(len(k.Metadata)))
	if len(k.Metadata) > 0 {
		for _, name := range slices.Sorted(maps.Keys(k.Metadata)) {
			dst = appendString(dst, name)
			dst = appendString(dst, k.Metadata[name])
		}
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendStrings(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = appendString(dst, s)
	}
	return dst
}

// uvarint, bytes and id each read one field from the front of a record.
func (c *cold) uvarint() uint64 {
	v, n := binary.Uvarint(*c)
	*c = (*c)[n:]
	return v
}

func (c *cold) bytes() []byte {
	n := c.uvarint()
	b := (*c)[:n]
	*c = (*c)[n:]
	return b
}

func (c *cold) id() (id []byte, regular bool) {
	flags := (*c)[0]
	*c = (*c)[1:]
	if flags&coldRegular == 0 {
		return c.bytes(), false
	}
	id = (*c)[:len(packedID{}.packed)]
	*c = (*c)[len(id):]
	return id, true
}

// coldCredential is one credential in a packed record.
type coldCredential struct {
	n        uint32
	hash     uint64 // of its digest
	material []byte // what verifies its signatures, see Credential.material
}

func (c *cold) nextCredential() coldCredential {
	n := uint32(c.uvarint())
	hash := binary.LittleEndian.Uint64(*c)
	*c = (*c)[8:]
	return coldCredential{n, hash, c.bytes()}
}

func (c cold) state() State { return stateCodes[c[0]&coldState] }

func (c cold) hasID(id *packedID) bool {
	have, regular := c.id()
	if regular != id.regular {
		return false
	}
	if regular {
		return bytes.Equal(have, id.packed[:])
	}
	return string(have) == id.text
}

// appendID appends the key's id as text.
func (c cold) appendID(dst []byte) []byte {
	id, regular := c.id()
	if regular {
		return appendUnpacked(dst, id)
	}
	return append(dst, id...)
}

// profile returns the slot of the key's profile.
func (c cold) profile() uint32 {
	c.id()
	return uint32(c.uvarint())
}

// rotatedAt returns when the last rotation began, in Unix milliseconds; 0 for
// none.
func (c cold) rotatedAt() int64 {
	c.id()
	c.uvarint()
	return int64(c.uvarint())
}

// credentials returns what nextCredential reads, and how many there are.
func (c cold) credentials() (rest cold, n int) {
	c.id()
	c.uvarint()
	c.uvarint()
	n = int(c.uvarint())
	return c, n
}

// attributes returns the record from the name on.
func (c cold) attributes() cold {
	c, n := c.credentials()
	for range n {
		c.nextCredential()
	}
	return c
}

func (c cold) name() string {
	c = c.attributes()
	return string(c.bytes())
}

func (c cold) owner() string {
	c = c.attributes()
	c.bytes()
	return string(c.bytes())
}

func (c cold) hasTag(tag string) bool {
	c = c.attributes()
	c.bytes()
	c.bytes()
	for range c.uvarint() {
		if string(c.bytes()) == tag {
			return true
		}
	}
	return false
}

func (c cold) meta(name string) (string, bool) {
	c = c.attributes()
	c.bytes()
	c.bytes()
	for range c.uvarint() {
		c.bytes()
	}
	for range c.uvarint() {
		n, value := c.bytes(), c.bytes()
		if string(n) == name {
			return string(value), true
		}
	}
	return "", false
}
