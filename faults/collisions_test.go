//go:build linux

package faults

import (
	encoding "encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
)

// colliding returns n tokens of which every third has one FNV-1a, every third one
// CRC-32, and every third one xxHash64 (seed 0).
func colliding(n int) (tokens []string) {
	sums := []func(state uint32, text string) uint32{
		func(state uint32, text string) uint32 {
			for _, c := range []byte(text) {
				state = (state ^ uint32(c)) * 16777619
			}
			return state
		},
		func(state uint32, text string) uint32 { return crc32.Update(state, crc32.IEEETable, []byte(text)) },
	}
	chains := [][][2]string{chain(sums[0], 2166136261, n/3+1), chain(sums[1], 0, n/3+1)}
	lanes := xxLanes(n/3 + 1)
	for i := range n {
		if i%3 == 2 {
			tokens = append(tokens, lanes.token(i/3))
			continue
		}
		var token strings.Builder
		for stage, pair := range chains[i%3] {
			token.WriteString(pair[i/3>>stage&1])
		}
		tokens = append(tokens, token.String())
	}
	return tokens
}

func randomText(size int) string {
	text := make([]byte, size)
	for i := range text {
		text[i] = base62[rand.IntN(62)]
	}
	return string(text)
}

// chain finds pairs of texts, each of which leads a sum from the state that the
// ones before lead to into one state: of k pairs come 2^k texts with one sum
// (Joux, 2004).
func chain(sum func(uint32, string) uint32, state uint32, n int) (pairs [][2]string) {
	for len(pairs) < max(8, bits.Len(uint(n-1))) { // 8: long enough for a token
		met := make(map[uint32]string)
		for {
			text := randomText(6) // of four bytes CRC-32 makes as many sums
			next := sum(state, text)
			if other, ok := met[next]; ok && other != text {
				pairs, state = append(pairs, [2]string{other, text}), next
				break
			}
			met[next] = text
		}
	}
	return pairs
}

// xxTexts are for each of the four lanes of xxHash64 texts of two words of eight
// bytes that leave it in one state.
type xxTexts [4][][2]uint64

const xxPrime1, xxPrime2 uint64 = 11400714785074694791, 14029467366897019727

// xxStart is the state of the lanes in the beginning.
func xxStart() [4]uint64 {
	first := xxPrime1
	return [4]uint64{first + xxPrime2, xxPrime2, 0, -first}
}

func xxRound(state, word uint64) uint64 {
	return bits.RotateLeft64(state+word*xxPrime2, 31) * xxPrime1
}

func xxLanes(n int) (lanes xxTexts) {
	inverse := xxPrime2
	for range 6 {
		inverse *= 2 - xxPrime2*inverse
	}
	each := 1
	for each*each*each*each < n {
		each++
	}
	for i := range lanes {
		start := xxStart()[i]
		var sum uint64 // what the second word is added to, and gives
		for len(lanes[i]) < each {
			first := encoding.LittleEndian.Uint64([]byte(randomText(8)))
			second := encoding.LittleEndian.Uint64([]byte(randomText(8)))
			state := xxRound(start, first)
			if len(lanes[i]) == 0 {
				sum = state + second*xxPrime2
			} else if second = (sum - state) * inverse; !inBase62(second) {
				continue
			}
			lanes[i] = append(lanes[i], [2]uint64{first, second})
		}
	}
	return lanes
}

func inBase62(word uint64) bool {
	for _, c := range encoding.LittleEndian.AppendUint64(nil, word) {
		if strings.IndexByte(base62, c) < 0 {
			return false
		}
	}
	return true
}

func (lanes *xxTexts) token(i int) string {
	var text [64]byte
	for lane := range lanes {
		words := lanes[lane][i%len(lanes[lane])]
		i /= len(lanes[lane])
		encoding.LittleEndian.PutUint64(text[8*lane:], words[0])
		encoding.LittleEndian.PutUint64(text[32+8*lane:], words[1])
	}
	return string(text[:])
}

// xxState is what xxHash64 makes of 64 bytes before its last steps, which are the
// same for all of one state.
func xxState(text string) (state [4]uint64) {
	state = xxStart()
	for i := range 8 {
		state[i%4] = xxRound(state[i%4], encoding.LittleEndian.Uint64([]byte(text[8*i:])))
	}
	return state
}

// TestColliding: the tokens do collide.
func TestColliding(t *testing.T) {
	tokens, sums := colliding(300), make(map[string]bool)
	seen := make(map[string]bool)
	for i, token := range tokens {
		if seen[token] {
			t.Fatal("a token came twice")
		}
		seen[token] = true
		switch i % 3 {
		case 0:
			h := fnv.New32a()
			h.Write([]byte(token))
			sums[fmt.Sprint("fnv ", h.Sum32())] = true
		case 1:
			sums[fmt.Sprint("crc ", crc32.ChecksumIEEE([]byte(token)))] = true
		case 2:
			sums[fmt.Sprint("xx ", xxState(token))] = true
		}
	}
	if len(sums) != 3 {
		t.Errorf("%d sums", len(sums))
	}
}
