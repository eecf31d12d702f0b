package keyring

import "encoding/binary"

// packedID is a key id ready to be compared with the ids in cold records. One
// of the regular form is 13 bytes there; any other is kept as it is.
type packedID struct {
	text    string
	packed  [13]byte
	regular bool
}

// base32Value has the value of each character of base32, 0xff for all others.
var base32Value = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(base32) {
		t[base32[i]] = uint8(i)
	}
	return t
}()

func packID(id string) packedID {
	p := packedID{text: id}
	if len(id) != keyIDLen || id[:len(keyIDPrefix)] != keyIDPrefix {
		return p
	}
	var hi, lo uint64 // 50 bits each
	for i := range 10 {
		a, b := base32Value[id[len(keyIDPrefix)+i]], base32Value[id[len(keyIDPrefix)+10+i]]
		if a > 31 || b > 31 {
			return p
		}
		hi, lo = hi<<5|uint64(a), lo<<5|uint64(b)
	}
	p.regular = true
	p.packed[0] = byte(hi >> 46)
	binary.BigEndian.PutUint32(p.packed[1:], uint32(hi>>14))
	binary.BigEndian.PutUint64(p.packed[5:], hi<<50|lo)
	return p
}

// appendUnpacked appends the id whose packed form is b.
func appendUnpacked(dst, b []byte) []byte {
	top := uint64(b[0])<<32 | uint64(binary.BigEndian.Uint32(b[1:]))
	low := binary.BigEndian.Uint64(b[5:])
	dst = append(dst, keyIDPrefix...)
	dst = appendBase32(dst, top<<14|low>>50)
	return appendBase32(dst, low)
}
