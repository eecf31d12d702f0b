package usage

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Calls wait in a few rings until they are written, so that requests on several
// processors seldom wait for one another.
const (
	ringCount = 8 // a power of two
	ringSize  = 1024
	ringFull  = ringSize * 3 / 4 // from here on the flusher is woken
)

// CallSeen is a Call as the request path knows it: nothing of it is kept, all
// of it is copied.
type CallSeen struct {
	Key        [KeyLen]byte
	Credential uint32
	Route      RouteNo
	Reason     ReasonNo
	Observed   bool
	Began      time.Time
	Duration   time.Duration
	Method     string
	Path       string // as it came in, with the query
	UserAgent  string
	Addr       netip.Addr
	Status     int
	Bytes      uint64
	RequestID  uint64
}

// slot is a call with its texts in place, so that to keep one allocates nothing
// and holds on to nothing of the request.
type slot struct {
	seen                    CallSeen // without its strings
	path                    [MaxPath]byte
	userAgent               [MaxUserAgent]byte
	method                  [MaxMethod]byte
	pathLen                 uint16
	userAgentLen, methodLen uint8
	pathCut, userAgentCut   bool
}

type ring struct {
	mu    sync.Mutex
	slots []slot // made with the first call
	spare []slot // those that are being written
	from  int    // the oldest
	n     int
	lost  uint64 // overwritten before they were written
	_     [64]byte
}

type rings [ringCount]ring

// add keeps a call, in place of the oldest if there is no room. It reports
// whether it is time to write.
func (rs *rings) add(c *CallSeen) bool {
	r := &rs[rand.Uint32()&(ringCount-1)]
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.slots == nil {
		r.slots = make([]slot, ringSize)
	}
	if r.n == ringSize {
		r.from = (r.from + 1) & (ringSize - 1)
		r.n--
		r.lost++
	}
	r.slots[(r.from+r.n)&(ringSize-1)].set(c)
	r.n++
	return r.n == ringFull
}

// take returns all calls, in no order, in slices that are the caller's until the
// next take, and how many were lost.
func (rs *rings) take() (filled [ringCount][]slot, lost uint64) {
	for i := range rs {
		r := &rs[i]
		r.mu.Lock()
		if r.n > 0 {
			// From the oldest on; the order between two halves does not matter.
			filled[i] = r.slots[:r.n]
			r.slots, r.spare = r.spare, r.slots
			r.from, r.n = 0, 0
		}
		lost += r.lost
		r.lost = 0
		r.mu.Unlock()
	}
	return filled, lost
}

func (s *slot) set(c *CallSeen) {
	s.seen = *c
	s.seen.Method, s.seen.Path, s.seen.UserAgent = "", "", ""
	s.methodLen = uint8(copy(s.method[:], c.Method))
	s.userAgentLen = uint8(copy(s.userAgent[:], c.UserAgent))
	s.userAgentCut = len(c.UserAgent) > MaxUserAgent
	path := pathOf(c.Path)
	s.pathLen = uint16(copy(s.path[:], path))
	s.pathCut = len(path) > MaxPath
}

// pathOf returns what stands before the query, and of a path that will be cut at
// least what is kept.
func pathOf(target string) string {
	if query := strings.IndexByte(target[:min(len(target), MaxPath+1)], '?'); query >= 0 {
		return target[:query]
	}
	return target
}
