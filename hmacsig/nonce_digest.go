package hmacsig

import (
	"encoding/binary"
	"math/bits"
)

// nonceDigest stands for a credential and a nonce. It is their SipHash-2-4 with
// 128 bits, by a random key that the ring makes: a function that takes a third of
// the time of SHA-256, and by which nobody without the key can find two texts
// that meet. If two ever did, the second one would be refused; nothing would be
// accepted twice. hash/maphash has only 64 bits, and no key that can be saved.
type nonceDigest [16]byte

// nonceKey is the key of the digests.
type nonceKey [16]byte

// digest hashes the credential with its length before it, so that no two pairs
// are one text.
func (k nonceKey) digest(credential, nonce string) nonceDigest {
	var room [128]byte
	b := binary.AppendUvarint(room[:0], uint64(len(credential)))
	return k.sipHash(append(append(b, credential...), nonce...))
}

// sipHash is SipHash-2-4-128 of https://www.aumasson.jp/siphash/siphash.pdf and
// its reference implementation.
func (k nonceKey) sipHash(text []byte) nonceDigest {
	k0, k1 := binary.LittleEndian.Uint64(k[:8]), binary.LittleEndian.Uint64(k[8:])
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d^0xee
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573

	last := uint64(len(text)) << 56
	for ; len(text) >= 8; text = text[8:] {
		m := binary.LittleEndian.Uint64(text)
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
	}
	for i, c := range text {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= last

	v2 ^= 0xee
	var d nonceDigest
	for half := range 2 {
		for range 4 {
			v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		}
		binary.LittleEndian.PutUint64(d[8*half:], v0^v1^v2^v3)
		v1 ^= 0xdd
	}
	return d
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
