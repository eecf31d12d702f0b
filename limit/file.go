package limit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// The file of a table is a line that names the format, the length of the image
// that follows with the CRC-32C of that length, the image, and what was reserved
// since it was written. Image and additions are frames: the length of the
// payload, the CRC-32C of the frame's place in the file and of the payload, the
// payload. Numbers in front of payloads are big-endian, of 4 bytes, the image's
// length of 8.
//
// A payload is a list of records, each a byte that says which and uvarints:
//
//	f  day month                          nothing was forgotten after these
//	q  carrier span number reserved       a period of a quota
//	g  carrier span number                the latest period of a quota that is forgotten
//	w  carrier span age count*32          a window, oldest step first; at the end of a process only
//	t  milliseconds since 1970            when windows were saved, in front of them
//
// A carrier is a byte, k or o, and its name with its length before it; a span is
// zigzag. An addition is synced before what it reserves is spent, and the next
// one is written after that. So a frame that cannot be read with nothing behind
// it was never waited for: it was cut off by a crash, and is dropped. Any other
// one is damage.
const (
	fileFormat = "caddy limits 1\n"
	imageAt    = len(fileFormat) + 12
	frameHead  = 8
	maxFrame   = 1 << 16 // of payload that frames of the image are filled to
)

// ErrDamaged is a file that is not what was written.
var ErrDamaged = errors.New("the file of quotas is damaged, or of another version")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is what a file says of one span of one carrier.
type record struct {
	org  bool
	name string
	span Span

	number    int32 // of a period
	reserved  uint64
	forgotten bool // the period, and those before it

	age    int64 // of a window's last step when it was saved: nanoseconds since it began
	counts [windowSteps]uint32
}

// contents is what a file says.
type contents struct {
	floors  [2]int32 // day and month
	records []record // of quotas and windows, in the order of the file
	saved   int64    // when windows were, in milliseconds since 1970; 0 for never
}

// fileWriter makes a file, or what is added to one.
type fileWriter struct {
	data    []byte
	at      int64 // where data stands in the file
	payload []byte
	most    int // of a payload; an addition is one frame, or an end that was cut off could hold a whole one
}

func newImage() *fileWriter {
	return &fileWriter{data: append([]byte(fileFormat), make([]byte, 12)...), most: maxFrame}
}

func newAddition(at int64) *fileWriter { return &fileWriter{at: at, most: math.MaxInt} }

// image returns the whole file.
func (w *fileWriter) image() []byte {
	w.flush()
	length := w.data[len(fileFormat):imageAt]
	binary.BigEndian.PutUint64(length, uint64(len(w.data)))
	binary.BigEndian.PutUint32(length[8:], crc32.Checksum(length[:8], castagnoli))
	return w.data
}

// flush ends a frame.
func (w *fileWriter) flush() {
	if len(w.payload) == 0 {
		return
	}
	sum := frameSum(w.at+int64(len(w.data)), w.payload)
	w.data = binary.BigEndian.AppendUint32(w.data, uint32(len(w.payload)))
	w.data = binary.BigEndian.AppendUint32(w.data, sum)
	w.data = append(w.data, w.payload...)
	w.payload = w.payload[:0]
}

func frameSum(at int64, payload []byte) uint32 {
	place := binary.BigEndian.AppendUint64(nil, uint64(at))
	return crc32.Update(crc32.Checksum(place, castagnoli), castagnoli, payload)
}

func (w *fileWriter) end() {
	if len(w.payload) >= w.most {
		w.flush()
	}
}

func (w *fileWriter) floors(floors [2]int32) {
	w.payload = append(w.payload, 'f')
	w.payload = binary.AppendUvarint(w.payload, uint64(floors[0]))
	w.payload = binary.AppendUvarint(w.payload, uint64(floors[1]))
	w.end()
}

func (w *fileWriter) saved(wall int64) {
	w.payload = binary.AppendUvarint(append(w.payload, 't'), uint64(wall))
	w.end()
}

func (w *fileWriter) carrier(kind byte, org bool, name string, span Span) {
	carrier := byte('k')
	if org {
		carrier = 'o'
	}
	w.payload = append(w.payload, kind, carrier)
	w.payload = binary.AppendUvarint(w.payload, uint64(len(name)))
	w.payload = append(w.payload, name...)
	w.payload = binary.AppendVarint(w.payload, int64(span))
}

func (w *fileWriter) quota(org bool, name string, span Span, number int32, reserved uint64) {
	w.carrier('q', org, name, span)
	w.payload = binary.AppendUvarint(w.payload, uint64(number))
	w.payload = binary.AppendUvarint(w.payload, reserved)
	w.end()
}

func (w *fileWriter) forgotten(org bool, name string, span Span, number int32) {
	w.carrier('g', org, name, span)
	w.payload = binary.AppendUvarint(w.payload, uint64(number))
	w.end()
}

func (w *fileWriter) window(org bool, name string, win *window, now int64) {
	w.carrier('w', org, name, win.span)
	w.payload = binary.AppendUvarint(w.payload, uint64(max(now-win.last*win.span.step(), 0)))
	for n := win.last - windowSteps + 1; n <= win.last; n++ {
		w.payload = binary.AppendUvarint(w.payload, uint64(win.counts[n&stepMask]))
	}
	w.end()
}

// decodeFile reads a file. torn says that its end was cut off by a crash.
func decodeFile(data []byte) (c contents, torn bool, err error) {
	if len(data) < imageAt || !bytes.HasPrefix(data, []byte(fileFormat)) {
		return c, false, ErrDamaged
	}
	length := data[len(fileFormat):imageAt]
	image := binary.BigEndian.Uint64(length)
	if binary.BigEndian.Uint32(length[8:]) != crc32.Checksum(length[:8], castagnoli) || image > uint64(len(data)) {
		return c, false, ErrDamaged
	}
	for at := imageAt; at < len(data); {
		payload, ok := frameAt(data, at)
		if !ok {
			if uint64(at) < image || frameBehind(data, at) {
				return c, false, fmt.Errorf("%w, at byte %d", ErrDamaged, at)
			}
			return c, true, nil
		}
		if !c.read(payload) {
			return c, false, fmt.Errorf("%w, in the frame at byte %d", ErrDamaged, at)
		}
		at += frameHead + len(payload)
	}
	return c, false, nil
}

// frameAt returns the payload of the frame that begins at a place, false if there
// is no whole one.
func frameAt(data []byte, at int) ([]byte, bool) {
	if len(data)-at < frameHead {
		return nil, false
	}
	size, sum := binary.BigEndian.Uint32(data[at:]), binary.BigEndian.Uint32(data[at+4:])
	rest := data[at+frameHead:]
	if size == 0 || uint64(size) > uint64(len(rest)) || frameSum(int64(at), rest[:size]) != sum {
		return nil, false
	}
	return rest[:size], true
}

// frameBehind reports whether a frame begins anywhere behind a place.
func frameBehind(data []byte, at int) bool {
	for begin := at + 1; begin < len(data); begin++ {
		if _, ok := frameAt(data, begin); ok {
			return true
		}
	}
	return false
}

// read reads a payload; false if it is not one.
func (c *contents) read(payload []byte) bool {
	in := recordReader{rest: payload}
	for len(in.rest) > 0 && !in.bad {
		switch kind := in.byte(); kind {
		case 'f':
			c.floors = [2]int32{in.number(), in.number()}
		case 't':
			c.saved = int64(in.uvarint(1 << 62))
		case 'q', 'g':
			r := in.carrier()
			if r.number, r.forgotten = in.number(), kind == 'g'; !r.forgotten {
				r.reserved = in.uvarint(MaxQuota)
			}
			in.bad = in.bad || !r.span.Calendar() || r.span < Month || r.number == 0
			c.records = append(c.records, r)
		case 'w':
			r := in.carrier()
			r.age = int64(in.uvarint(uint64(before)))
			for i := range r.counts {
				r.counts[i] = uint32(in.uvarint(MaxRate))
			}
			in.bad = in.bad || r.span < 1 || r.span.Window() > MaxWindow || c.saved == 0
			c.records = append(c.records, r)
		default:
			return false
		}
	}
	return !in.bad
}

// recordReader reads fields. After one that cannot be, all are zero.
type recordReader struct {
	rest []byte
	bad  bool
}

func (in *recordReader) bytes(n uint64) []byte {
	if in.bad || n > uint64(len(in.rest)) {
		in.bad = true
		return nil
	}
	b := in.rest[:n]
	in.rest = in.rest[n:]
	return b
}

func (in *recordReader) byte() byte {
	if b := in.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (in *recordReader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(in.rest)
	if in.bad || n <= 0 || v > most {
		in.bad = true
		return 0
	}
	in.rest = in.rest[n:]
	return v
}

func (in *recordReader) number() int32 { return int32(in.uvarint(1<<31 - 2)) }

func (in *recordReader) carrier() (r record) {
	switch in.byte() {
	case 'k':
	case 'o':
		r.org = true
	default:
		in.bad = true
	}
	r.name = string(in.bytes(in.uvarint(MaxName)))
	v, n := binary.Varint(in.rest)
	if in.bad || n <= 0 || r.name == "" || v < int64(Month) || v > int64(MaxWindow.Seconds()) {
		in.bad = true
		return record{}
	}
	r.span, in.rest = Span(v), in.rest[n:]
	return r
}
