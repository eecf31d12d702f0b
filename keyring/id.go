package keyring

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// A key id is "key_" and 20 characters of lower-case Crockford base32: 10 for
// the Unix time in milliseconds (50 bits), 10 of randomness (50 bits). Ids are
// public names, not secrets; they sort by creation time.
const (
	keyIDPrefix = "key_"
	keyIDLen    = len(keyIDPrefix) + 20
	base32      = "0123456789abcdefghjkmnpqrstvwxyz"
)

func newKeyID(now time.Time, random io.Reader) (string, error) {
	var seed [8]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return "", fmt.Errorf("reading randomness for a key id: %w", err)
	}
	id := make([]byte, 0, keyIDLen)
	id = append(id, keyIDPrefix...)
	id = appendBase32(id, uint64(now.UnixMilli()))
	id = appendBase32(id, binary.BigEndian.Uint64(seed[:]))
	return string(id), nil
}

// appendBase32 appends the low 50 bits of n as 10 characters.
func appendBase32(dst []byte, n uint64) []byte {
	for shift := 45; shift >= 0; shift -= 5 {
		dst = append(dst, base32[n>>shift&31])
	}
	return dst
}

// ValidKeyID reports whether id has the form of a key id.
func ValidKeyID(id string) bool {
	if len(id) != keyIDLen || !strings.HasPrefix(id, keyIDPrefix) {
		return false
	}
	for _, c := range []byte(id[len(keyIDPrefix):]) {
		if strings.IndexByte(base32, c) < 0 {
			return false
		}
	}
	return true
}

func log2(n int) float64 { return math.Log2(float64(n)) }
