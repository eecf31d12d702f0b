package hmacsig

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"time"
)

// A saved ring is a line that names the format, the key of the digests, the first
// second that is not forgotten, the number of seconds, for each second its time,
// the number of its nonces and their digests, and the SHA-256 of all that. Numbers
// are big-endian: 8 bytes for times, 4 for counts.
const nonceFormat = "hmacsig nonces 1\n"

// ErrNonceFile is a saved ring that cannot be read, or not in full.
var ErrNonceFile = errors.New("the saved nonces are damaged, or of another version")

// Save writes what is remembered, for LoadNonceRing in the next process. It ends
// the ring, whether it succeeds or not: from then on Use returns ErrNonceUnknown,
// since the file would not know what is spent later.
func (r *NonceRing) Save(w io.Writer) error {
	floor, seconds := int64(math.MinInt64), map[int64][]nonceDigest{}
	if l := r.loaded.Load(); l != nil {
		for second, spent := range l.seconds {
			seconds[second] = appendDigests(seconds[second], spent)
		}
	}
	for i := range r.shards {
		floor = max(floor, r.shards[i].end(seconds))
	}
	if floor == math.MaxInt64 {
		return errors.New("hmacsig: the nonces were saved before")
	}

	sum := sha256.New()
	b := bufio.NewWriter(io.MultiWriter(w, sum))
	put := func(v any) { _ = binary.Write(b, binary.BigEndian, v) } // b keeps its first error
	put([]byte(nonceFormat))
	put(r.key)
	put(floor)
	put(uint32(len(seconds)))
	for second, digests := range seconds {
		put(second)
		put(uint32(len(digests)))
		for i := range digests {
			_, _ = b.Write(digests[i][:])
		}
	}
	if err := b.Flush(); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// end adds what is remembered to seconds, refuses all from then on, and returns
// the floor as it was.
func (s *nonceShard) end(seconds map[int64][]nonceDigest) (floor int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for second, spent := range s.seconds {
		if len(spent) == 0 {
			continue
		}
		seconds[second] = appendDigests(seconds[second], spent)
	}
	floor, s.floor = s.floor, math.MaxInt64
	return floor
}

func appendDigests(digests []nonceDigest, spent map[nonceDigest]group) []nonceDigest {
	digests = slices.Grow(digests, len(spent))
	for digest := range spent {
		digests = append(digests, digest)
	}
	return digests
}

// LoadNonceRing returns the ring that was saved to from. It fails with
// ErrNonceFile if that is not a whole file of Save with at most limits.Max
// nonces; then NewNonceRing has to be told that they are lost. A file is good
// once: whoever has loaded it removes it before a nonce is spent, or it would be
// loaded again after a crash and know nothing of what was spent since.
//
// The quota of a credential does not count what was loaded.
func LoadNonceRing(limits NonceLimits, from io.Reader) (*NonceRing, error) {
	r := NewNonceRing(limits, time.Time{})
	in := &nonceReader{r: bufio.NewReader(from), sum: sha256.New()}
	if !bytes.Equal(in.bytes(len(nonceFormat)), []byte(nonceFormat)) {
		return nil, ErrNonceFile
	}
	r.key = nonceKey(in.bytes(len(r.key)))
	floor := int64(in.uint64())
	loaded := &loadedNonces{seconds: map[int64]map[nonceDigest]group{}, newest: math.MinInt64}
	for n := in.uint32(); n > 0 && in.err == nil; n-- {
		second, spent := int64(in.uint64()), map[nonceDigest]group{}
		count := in.uint32()
		if loaded.size += int64(count); loaded.size > int64(r.limits.Max) {
			return nil, fmt.Errorf("%w: more than %d nonces", ErrNonceFile, r.limits.Max)
		}
		for i := uint32(0); i < count && in.err == nil; i++ {
			spent[nonceDigest(in.bytes(len(nonceDigest{})))] = 0
		}
		if _, twice := loaded.seconds[second]; twice || len(spent) != int(count) || count == 0 {
			return nil, ErrNonceFile
		}
		loaded.seconds[second] = spent
		loaded.newest = max(loaded.newest, second)
	}
	sum := in.sum.Sum(nil)
	if !bytes.Equal(in.bytes(len(sum)), sum) || in.err != nil || !in.atEnd() {
		return nil, ErrNonceFile
	}
	for i := range r.shards {
		r.shards[i].floor = floor
	}
	r.loaded.Store(loaded)
	r.kept.Store(loaded.size)
	return r, nil
}

// nonceReader reads fields and hashes what it has read. After an error it reads
// zeros.
type nonceReader struct {
	r    *bufio.Reader
	sum  hash.Hash
	room [32]byte
	err  error
}

func (in *nonceReader) bytes(n int) []byte {
	b := in.room[:n]
	if in.err == nil {
		_, in.err = io.ReadFull(in.r, b)
	}
	if in.err != nil {
		clear(b)
	}
	in.sum.Write(b)
	return b
}

func (in *nonceReader) uint32() uint32 { return binary.BigEndian.Uint32(in.bytes(4)) }
func (in *nonceReader) uint64() uint64 { return binary.BigEndian.Uint64(in.bytes(8)) }

func (in *nonceReader) atEnd() bool {
	_, err := in.r.ReadByte()
	return err == io.EOF
}
