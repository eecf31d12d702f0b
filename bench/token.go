package main

import (
	"hash/crc32"
	"math/rand/v2"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// tokenOf returns the token of key i, of the form that the server makes itself:
// ck_, 43 characters, checksum. Server and clients derive it alike, so that a
// million tokens need not be passed on.
func tokenOf(i int) string { return string(appendToken(nil, i)) }

// appendToken appends the token of key i to dst.
func appendToken(dst []byte, i int) []byte {
	start := len(dst)
	dst = append(dst, "ck_"...)
	random := rand.NewPCG(uint64(i), 1)
	for n, bits := 0, uint64(0); n < 43; n++ {
		if n%10 == 0 { // 10 characters are less than 60 bits
			bits = random.Uint64()
		}
		dst = append(dst, base62[bits%62])
		bits /= 62
	}
	sum := crc32.ChecksumIEEE(dst[start:])
	var tail [6]byte
	for n := len(tail) - 1; n >= 0; n-- {
		tail[n] = base62[sum%62]
		sum /= 62
	}
	return append(dst, tail[:]...)
}
