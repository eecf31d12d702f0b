package bolt

import (
	"context"
	"fmt"

	bbolt "go.etcd.io/bbolt"
)

// TrailReport is what verifying a trail found.
type TrailReport struct {
	First, Last uint64   // the entries that are kept; First is past Last if there are none
	Hash        [32]byte // of the last one
	Erased      uint64   // how many have no details any more
	Faults      []TrailFault
	More        bool // there are more faults than these
}

// TrailFault is a place where the trail is not as it was written.
type TrailFault struct {
	Seq  uint64
	What string
}

const maxFaults = 100

func (r *TrailReport) fault(seq uint64, format string, args ...any) {
	if len(r.Faults) >= maxFaults {
		r.More = true
		return
	}
	r.Faults = append(r.Faults, TrailFault{seq, fmt.Sprintf(format, args...)})
}

// VerifyTrail checks every entry of the trail, as it is when the call begins,
// and that none is missing. Whoever can write to the file can forge the whole
// chain; a hash that was kept elsewhere shows that.
func (l *Ledger) VerifyTrail(ctx context.Context) (*TrailReport, error) {
	var start trailState
	err := l.view(func(tx *bbolt.Tx) (err error) {
		start, err = l.trailIn(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	r := &TrailReport{First: start.purged + 1, Last: start.last, Hash: start.lastHash}
	v := verifier{r: r, done: start.purged, prev: start.purgedHash, known: true}
	for v.done < start.last {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		slice, now, err := l.trailAfter(v.done)
		if err != nil {
			return nil, err
		}
		if now.purged > v.done { // meanwhile
			v.done, v.prev, v.known = now.purged, now.purgedHash, true
			continue
		}
		if len(slice) == 0 {
			break
		}
		for i := range slice {
			if slice[i].Seq <= start.last {
				v.entry(&slice[i])
			}
		}
		if slice[len(slice)-1].Seq > start.last {
			break
		}
	}
	switch {
	case v.done < start.last:
		r.fault(v.done+1, "cut off: %d entries are missing", start.last-v.done)
	case v.known && v.done == start.last && v.prev != start.lastHash:
		r.fault(start.last, "it was not the last entry")
	}
	return r, l.verifyEnds(r, start, v.checkpoints)
}

// verifyEnds checks what lies before and behind the entries.
func (l *Ledger) verifyEnds(r *TrailReport, start trailState, checkpoints map[checkpoint]bool) error {
	if mark := (checkpoint{start.purged, start.purgedHash}); start.purged > 0 && !checkpoints[mark] {
		if _, now, err := l.trailAfter(^uint64(0)); err != nil {
			return err
		} else if now.purged == start.purged { // else it was purged meanwhile, too
			r.fault(start.purged+1, "no entry tells that those before it were purged")
		}
	}
	behind, now, err := l.trailAfter(start.last)
	if err != nil {
		return err
	}
	for i := range behind {
		if behind[i].Seq > now.last {
			r.fault(behind[i].Seq, "added behind the end")
		}
	}
	return nil
}

// verifier goes through a trail.
type verifier struct {
	r           *TrailReport
	done        uint64 // the entry that was looked at last
	prev        [32]byte
	known       bool // prev is its hash
	checkpoints map[checkpoint]bool
}

func (v *verifier) entry(e *TrailEntry) {
	if e.Seq != v.done+1 {
		v.r.fault(v.done+1, "missing, up to %d", e.Seq-1)
		v.known = false
	}
	switch e.Prev = v.prev; {
	case e.damaged != nil:
		v.r.fault(e.Seq, "damaged: %v", e.damaged)
	case v.known && e.chain() != e.Hash:
		v.r.fault(e.Seq, "changed, or the one before it was")
	}
	if e.Erased {
		v.r.Erased++
	}
	if mark, ok := parseCheckpoint(e.Payload); ok {
		if v.checkpoints == nil {
			v.checkpoints = make(map[checkpoint]bool)
		}
		v.checkpoints[mark] = true
	}
	v.done, v.prev, v.known = e.Seq, e.Hash, e.damaged == nil
}
