package hmacsig

import (
	"crypto/rand"
	"errors"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Why a nonce is not spent. Each refuses the request.
var (
	// ErrReplay is a nonce that was spent before.
	ErrReplay = errors.New("the nonce was used before")

	// ErrNonceQuota is a credential that has used up its share of the nonces.
	// It gets more as its old ones leave the window.
	ErrNonceQuota = errors.New("the credential has used too many nonces")

	// ErrNoncesFull is a ring that can remember no more. The request may be
	// good; it could be used again if it were accepted.
	ErrNoncesFull = errors.New("too many nonces to remember")

	// ErrNonceUnknown is a request of a time of which the ring does not know
	// what was spent: before a restart, or before a clock was set back. The
	// request may be good; a new one is accepted once that time is over.
	ErrNonceUnknown = errors.New("it is not known which nonces of that time were used")
)

// NonceLimits says how much a NonceRing remembers. Zero fields take the default.
type NonceLimits struct {
	Window           time.Duration // how far a signed time may be from now, to either side; default: HawkSkew
	Max              int           // nonces remembered at once, about 40 bytes each; default: 2,000,000
	MaxPerCredential int           // of them, of one credential; default: a quarter of Max
}

// NonceRing remembers the nonces of requests that were accepted, each for as long
// as the request could be accepted again. It never forgets one to make room. It
// can be used by several goroutines at once.
//
// Nonces are kept by the second that was signed with them. A second is forgotten
// when it has left the window, and from then on it is refused, whatever the clock
// says later: setting the clock back opens nothing, it only makes the ring refuse
// the time for which it has forgotten nonces. The clock's other errors cost no
// more: after a leap ahead and back, the ring refuses until the time is past of
// which it forgot nonces during the leap.
type NonceRing struct {
	limits NonceLimits
	window int64 // limits.Window in seconds, rounded up
	key    nonceKey
	seed   maphash.Seed
	kept   atomic.Int64 // nonces remembered
	swept  atomic.Int64 // the second in which old nonces were last dropped
	loaded atomic.Pointer[loadedNonces]
	shards [64]nonceShard
}

// nonceShard has the nonces of some credentials. For the quota they are told
// apart by 10 bits of their hash. Together with the choice of the shard this
// makes 65,536 groups, with a random seed, so that nobody can arrange to share
// another one's quota.
type nonceShard struct {
	mu      sync.Mutex
	floor   int64                           // the first second that is not forgotten
	seconds map[int64]map[nonceDigest]group // the nonces spent, by signed second
	spare   map[nonceDigest]group           // empty, for the next second
	kept    [1 << 10]uint32                 // nonces remembered, by group
}

type group uint16

// loadedNonces were spent before a restart. They are not changed any more, and
// belong to no group.
type loadedNonces struct {
	seconds map[int64]map[nonceDigest]group
	newest  int64
	size    int64
}

// NewNonceRing returns a ring that knows of no nonce. lost is the last moment at
// which nonces may have been spent that it should know; what could have been
// accepted by then is refused, which is all that is signed until Window after
// it. A server that starts without the ring that its predecessor saved passes
// the present, or the latest time that it has on record if that is later. Zero
// says that there was no predecessor.
func NewNonceRing(limits NonceLimits, lost time.Time) *NonceRing {
	if limits.Window <= 0 {
		limits.Window = HawkSkew
	}
	if limits.Max <= 0 {
		limits.Max = 2_000_000
	}
	if limits.MaxPerCredential <= 0 {
		limits.MaxPerCredential = max(limits.Max/4, 1)
	}
	r := &NonceRing{limits: limits, window: int64(math.Ceil(limits.Window.Seconds())), seed: maphash.MakeSeed()}
	_, _ = rand.Read(r.key[:]) // never fails
	floor := int64(math.MinInt64)
	if !lost.IsZero() {
		floor = lost.Unix() + r.window + 1
	}
	for i := range r.shards {
		s := &r.shards[i]
		s.floor, s.seconds = floor, map[int64]map[nonceDigest]group{}
	}
	return r
}

// Lose says that until a moment nonces may have been spent of which the ring
// knows nothing, as NewNonceRing does with lost.
func (r *NonceRing) Lose(lost time.Time) {
	floor := lost.Unix() + r.window + 1
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		s.floor = max(s.floor, floor)
		s.mu.Unlock()
	}
}

// Use spends a nonce that a credential has proven to have signed, with the given
// second as its time. It returns nil once for each; ErrStale if the second is
// outside of the window around now; and otherwise one of the errors above.
//
// It is the last step before a request is accepted: a nonce that is spent for a
// request which is refused for another reason cannot be used by the request that
// its owner sends then.
func (r *NonceRing) Use(credential string, second int64, nonce string, now time.Time) error {
	at := now.Unix()
	if second < at-r.window || second > at+r.window {
		return ErrStale
	}
	if r.swept.Load() != at {
		r.sweep(at)
	}
	return r.spend(credential, second, nonce, false)
}

// Note spends a nonce for a request about whose time another ring decides, one
// with another window. Where one request may come to both, each of them must know
// what the other one let in, also of times that are yet to come into its window.
// It returns ErrReplay, ErrNonceQuota and ErrNoncesFull as Use does, and
// ErrNonceUnknown only of a ring that was saved.
func (r *NonceRing) Note(credential string, second int64, nonce string, now time.Time) error {
	at := now.Unix()
	if r.swept.Load() != at {
		r.sweep(at)
	}
	if second < at-r.window {
		return nil // this ring lets it in no more
	}
	return r.spend(credential, second, nonce, true)
}

func (r *NonceRing) spend(credential string, second int64, nonce string, unknown bool) error {
	digest := r.key.digest(credential, nonce)
	if r.loaded.Load().has(second, digest) {
		return ErrReplay
	}
	s, g := r.place(credential)
	s.mu.Lock()
	defer s.mu.Unlock()
	if second < s.floor && (!unknown || s.floor == math.MaxInt64) {
		return ErrNonceUnknown
	}
	spent := s.seconds[second]
	if spent == nil {
		if spent = s.spare; spent == nil {
			spent = map[nonceDigest]group{}
		}
		s.spare, s.seconds[second] = nil, spent
	}
	before := len(spent)
	spent[digest] = g // the same group, if it was there
	if len(spent) == before {
		return ErrReplay
	}
	if int(s.kept[g]) >= r.limits.MaxPerCredential {
		delete(spent, digest)
		return ErrNonceQuota
	}
	if r.kept.Add(1) > int64(r.limits.Max) {
		r.kept.Add(-1)
		delete(spent, digest)
		return ErrNoncesFull
	}
	s.kept[g]++
	return nil
}

// Spent reports whether a nonce is known to have been spent. It spends none: it
// is there to refuse a replay before work is done for it. Only Use tells that a
// request may be accepted.
func (r *NonceRing) Spent(credential string, second int64, nonce string) bool {
	digest := r.key.digest(credential, nonce)
	if r.loaded.Load().has(second, digest) {
		return true
	}
	s, _ := r.place(credential)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, spent := s.seconds[second][digest]
	return spent
}

// place returns where the nonces of a credential are kept.
func (r *NonceRing) place(credential string) (*nonceShard, group) {
	owner := maphash.String(r.seed, credential)
	s := &r.shards[owner%uint64(len(r.shards))]
	return s, group(owner / uint64(len(r.shards)) % uint64(len(s.kept)))
}

// Len returns how many nonces are remembered.
func (r *NonceRing) Len() int { return int(r.kept.Load()) }

// sweep forgets the seconds that have left the window, once per second.
func (r *NonceRing) sweep(at int64) {
	if last := r.swept.Load(); last == at || !r.swept.CompareAndSwap(last, at) {
		return
	}
	oldest := at - r.window
	loaded, floor := r.loaded.Load(), int64(math.MinInt64)
	if loaded != nil && loaded.newest < oldest {
		floor = loaded.newest + 1
	}
	for i := range r.shards {
		r.kept.Add(-r.shards[i].forget(oldest, floor))
	}
	if floor != math.MinInt64 && r.loaded.CompareAndSwap(loaded, nil) {
		r.kept.Add(-loaded.size)
	}
}

// forget drops the seconds before oldest and refuses them from now on, and all
// before floor as well. It returns how many nonces it dropped.
func (s *nonceShard) forget(oldest, floor int64) (dropped int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor = max(s.floor, floor)
	for second, spent := range s.seconds {
		if second >= oldest {
			continue
		}
		if len(spent) > 0 { // or all that would have been spent was refused
			s.floor = max(s.floor, second+1)
		}
		for _, g := range spent {
			s.kept[g]--
		}
		dropped += int64(len(spent))
		delete(s.seconds, second)
		clear(spent)
		s.spare = spent
	}
	return dropped
}

func (l *loadedNonces) has(second int64, digest nonceDigest) bool {
	if l == nil {
		return false
	}
	_, ok := l.seconds[second][digest]
	return ok
}
