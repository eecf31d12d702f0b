package audit

import (
	"context"
	"fmt"
)

// Report is what verifying a trail found.
type Report struct {
	First, Last uint64   // the entries that are kept; First is past Last if there are none
	Hash        [32]byte // of the last one
	Erased      uint64   // how many have no details any more
	Faults      []Fault
	More        bool // there are more faults than these
}

// Fault is a place where the trail is not as it was written.
type Fault struct {
	Seq  uint64
	What string
}

const maxFaults = 100

func (r *Report) fault(seq uint64, format string, args ...any) {
	if len(r.Faults) >= maxFaults {
		r.More = true
		return
	}
	r.Faults = append(r.Faults, Fault{seq, fmt.Sprintf(format, args...)})
}

// Nowhere is a number after which there are no entries.
const Nowhere = ^uint64(0)

// Verify checks every entry of a trail, as it is when the call begins, and that
// none is missing. read returns some of the entries after a number, none at the
// end, and the ends of the trail, as they are at one moment; the trail may grow
// and be purged between its calls.
func Verify(ctx context.Context, read func(after uint64) ([]Entry, Chain, error)) (*Report, error) {
	_, start, err := read(Nowhere)
	if err != nil {
		return nil, err
	}
	v := verifier{start: start, done: start.Purged, prev: start.PurgedHash, known: true}
	v.First, v.Last, v.Hash = start.Purged+1, start.Last, start.LastHash
	for v.done < start.Last {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		slice, now, err := read(v.done)
		if err != nil {
			return nil, err
		}
		if now.Purged > v.done { // meanwhile
			v.done, v.prev, v.known = now.Purged, now.PurgedHash, true
			continue
		}
		if len(slice) == 0 {
			break
		}
		for i := range slice {
			if slice[i].Seq <= start.Last {
				v.entry(&slice[i])
			}
		}
		if slice[len(slice)-1].Seq > start.Last {
			break
		}
	}
	switch {
	case v.done < start.Last:
		v.fault(v.done+1, "cut off: %d entries are missing", start.Last-v.done)
	case v.known && v.done == start.Last && v.prev != start.LastHash:
		v.fault(start.Last, "it was not the last entry")
	}
	return &v.Report, v.ends(read)
}

// verifier goes through a trail.
type verifier struct {
	Report
	start       Chain
	done        uint64 // the entry that was looked at last
	prev        [32]byte
	known       bool // prev is its hash
	checkpoints map[checkpoint]bool
}

func (v *verifier) entry(e *Entry) {
	if e.Seq != v.done+1 {
		v.fault(v.done+1, "missing, up to %d", e.Seq-1)
		v.known = false
	}
	switch e.Prev = v.prev; {
	case e.Damaged != nil:
		v.fault(e.Seq, "damaged: %v", e.Damaged)
	case v.known && e.chain() != e.Hash:
		v.fault(e.Seq, "changed, or the one before it was")
	}
	if e.Erased {
		v.Erased++
	}
	if mark, ok := parseCheckpoint(e.Payload); ok {
		if v.checkpoints == nil {
			v.checkpoints = make(map[checkpoint]bool)
		}
		v.checkpoints[mark] = true
	}
	v.done, v.prev, v.known = e.Seq, e.Hash, e.Damaged == nil
}

// ends checks what lies before and behind the entries.
func (v *verifier) ends(read func(after uint64) ([]Entry, Chain, error)) error {
	start := v.start
	if mark := (checkpoint{start.Purged, start.PurgedHash}); start.Purged > 0 && !v.checkpoints[mark] {
		if _, now, err := read(Nowhere); err != nil {
			return err
		} else if now.Purged == start.Purged { // else it was purged meanwhile, too
			v.fault(start.Purged+1, "no entry tells that those before it were purged")
		}
	}
	first, now, err := read(0)
	if err != nil {
		return err
	}
	if len(first) > 0 && first[0].Seq <= now.Purged {
		v.fault(first[0].Seq, "added before the beginning")
	}
	behind, now, err := read(start.Last)
	if err != nil {
		return err
	}
	for i := range behind {
		if behind[i].Seq > now.Last {
			v.fault(behind[i].Seq, "added behind the end")
		}
	}
	return nil
}
