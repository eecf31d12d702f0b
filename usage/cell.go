package usage

import (
	"net/netip"
	"sync/atomic"

	"github.com/caddy-apikey/caddy-apikey/internal/milli"
)

// KeyLen is the length of a key's id in bytes.
const KeyLen = 24

// cellID is what counters keep apart. It has no pointer and no padding.
type cellID struct {
	key        [KeyLen]byte // zero for strangers
	addr       [16]byte
	credential uint32
	route      uint32
	reason     uint16
	kind       placeKind
	observed   bool
}

type placeKind uint8

const (
	placeUnknown placeKind = iota
	placeV4
	placeV6
	placeOther
)

func (id *cellID) setPlace(p Place) {
	switch {
	case p.other:
		id.kind = placeOther
	case !p.addr.IsValid():
		id.kind = placeUnknown
	case p.addr.Is4():
		id.kind, id.addr = placeV4, p.addr.As16()
	default:
		id.kind, id.addr = placeV6, p.addr.As16()
	}
}

func (id *cellID) place() Place {
	switch id.kind {
	case placeOther:
		return Other
	case placeUnknown:
		return Place{}
	}
	return PlaceOf(netip.AddrFrom16(id.addr).Unmap())
}

// elsewhere is the cell that takes over when no more places are kept apart.
func (id *cellID) elsewhere() cellID {
	c := *id
	c.kind, c.addr = placeOther, [16]byte{}
	return c
}

// cell counts one combination.
type cell struct {
	id       cellID
	requests atomic.Uint64
	bytes    atomic.Uint64
	statuses [6]atomic.Uint64
	first    atomic.Int64 // Unix milliseconds; 0: not since the last flush
	last     atomic.Int64
	gone     atomic.Bool // taken out of its shard
	idle     int         // flushes that found nothing; the flusher's
}

// begin counts a request at a time in Unix milliseconds.
func (c *cell) begin(now int64) {
	c.requests.Add(1)
	c.last.Store(now)
	if c.first.Load() == 0 {
		c.first.CompareAndSwap(0, now)
	}
}

// end counts an answer.
func (c *cell) end(status int, bytes uint64) {
	class := status / 100
	if class < 0 || class > 5 {
		class = 0
	}
	c.statuses[class].Add(1)
	if bytes > 0 {
		c.bytes.Add(bytes)
	}
}

// take returns what was counted since it was called last; false for nothing.
// Counts that come while it runs are in this or in the next.
func (c *cell) take(counter *Counter) bool {
	counter.Requests = c.requests.Swap(0)
	counter.Bytes = c.bytes.Swap(0)
	any := counter.Requests != 0 || counter.Bytes != 0
	for i := range c.statuses {
		counter.Statuses[i] = c.statuses[i].Swap(0)
		any = any || counter.Statuses[i] != 0
	}
	if counter.Requests != 0 {
		counter.First, counter.Last = milli.Time(c.first.Swap(0)), milli.Time(c.last.Load())
		if counter.First.IsZero() || counter.Last.Before(counter.First) {
			counter.First = counter.Last
		}
	}
	return any
}

// overdue reports whether the cell is to be taken out.
func (c *cell) overdue(many, afresh bool) bool {
	return afresh && c.id.kind == placeOther || c.idle > idleFlushes || many && c.idle > 0
}
