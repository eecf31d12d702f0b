package usage

import (
	"hash/maphash"
	"sync"
	"time"
)

// Unusual says from where on the use of a key is unusual. Zero is never.
type Unusual struct {
	Places int           // from more places than these it was let in …
	Within time.Duration // … within this time

	Least uint64 // it was let in more often than this within an hour of the clock
}

// Suspect is a key whose use reached a threshold.
type Suspect struct {
	Key  string
	At   time.Time // of the last request that was looked at
	Kind SuspectKind

	Places   int    // of SuspectPlaces: how many
	Requests uint64 // of SuspectRequests: how many in this hour since the watch began
}

// SuspectKind is what is unusual.
type SuspectKind uint8

// The kinds.
const (
	SuspectPlaces   SuspectKind = iota + 1 // more places than Unusual.Places
	SuspectRequests                        // more requests than Unusual.Least; whether that is much for this key is for the store to say
)

// Bounds of what a watch remembers.
const (
	maxWatched   = 1 << 17 // keys, and places of keys, together
	watchSample  = 16      // keys that the one to be forgotten is chosen from
	watchSweep   = time.Minute
	maxSuspects  = 4096
	neverAsk     = ^uint64(0)
	resumedAfter = time.Second // what was let in before a suspension may be counted a moment after it
)

// Watch looks at what a Recorder wrote for keys whose use is unusual. It is not
// on the request path and reads no store. What it knows it forgets with the
// process. Its methods may be called at the same time.
type Watch struct {
	seed maphash.Seed

	mu        sync.Mutex
	unusual   Unusual
	keys      map[string]*watched
	places    int // of all keys
	suspects  []Suspect
	swept     time.Time
	forgotten uint64
}

// watched is what is known of one key.
type watched struct {
	places []seenPlace
	quiet  time.Time // until when its places are not looked at

	hour     int64
	requests uint64 // in that hour
	ask      uint64 // more requests are suspect

	last      time.Time
	suspended time.Time // by us; zero if it is not, or was used since
}

// seenPlace is a place as a hash of it, which is smaller.
type seenPlace struct {
	hash uint64
	last int64 // Unix milliseconds
}

// NewWatch returns a watch for nothing.
func NewWatch() *Watch { return &Watch{seed: maphash.MakeSeed(), keys: make(map[string]*watched)} }

// Set says what is unusual from now on. Anything new begins to count anew.
func (w *Watch) Set(u Unusual) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u != w.unusual {
		w.unusual, w.keys, w.places, w.suspects = u, make(map[string]*watched), 0, nil
	}
}

// Forgotten returns how often a key was forgotten before its time, because too
// many were in use at once.
func (w *Watch) Forgotten() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.forgotten
}

// Take returns the suspects since it was called last. It may have been told of
// a key twice, for one thing each.
func (w *Watch) Take() []Suspect {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.suspects
	w.suspects = nil
	return taken
}

// Return takes suspects back that nobody had the time to look at.
func (w *Watch) Return(list []Suspect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.suspects = append(w.suspects, list[:min(len(list), maxSuspects-len(w.suspects))]...)
}

// Ask has a key suspected again in the same hour once it was let in more often
// than this. Unless asked for, a key is suspected of its requests once an hour.
func (w *Watch) Ask(s Suspect, requests uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.keys[s.Key]; k != nil && k.hour == hourOf(s.At) {
		k.ask = requests
	}
}

// Suspended notes that a key was suspended because of what the watch told. When
// it is used again, somebody has resumed it, and what is usual is to be seen
// anew: it is not suspected for as long as the places are looked at, and of its
// requests not within the same hour.
func (w *Watch) Suspended(key string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.keys[key]
	if k == nil {
		k = w.add(key)
	}
	k.suspended, k.last = at, at
	w.drop(k)
}

// Note looks at a batch that was written.
func (w *Watch) Note(b *Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unusual == (Unusual{}) {
		return
	}
	for i := range b.Counters {
		// Refusals are no use: they have events of their own, and whoever got hold of a key that is
		// bound to addresses must not be able to have it suspended.
		if c := &b.Counters[i]; c.Key != "" && c.Reason == "" && c.Requests > 0 {
			w.note(c)
		}
	}
}

func (w *Watch) note(c *Counter) {
	k := w.keys[c.Key]
	if k == nil {
		w.sweep(c.Last)
		k = w.add(c.Key)
	}
	if !k.suspended.IsZero() {
		if c.Last.Sub(k.suspended) <= resumedAfter {
			return
		}
		k.suspended, k.quiet = time.Time{}, c.Last.Add(w.unusual.Within)
		k.hour, k.requests, k.ask = hourOf(c.Last), 0, neverAsk
	}
	if c.Last.After(k.last) {
		k.last = c.Last
	}
	if w.unusual.Places > 0 && !c.Last.Before(k.quiet) && w.see(k, maphash.Comparable(w.seed, c.Place), c.Last) {
		w.suspect(Suspect{Key: c.Key, At: c.Last, Kind: SuspectPlaces, Places: len(k.places)})
		k.quiet = c.Last.Add(w.unusual.Within)
		w.drop(k)
	}
	hour := hourOf(c.Hour)
	if w.unusual.Least == 0 || hour < k.hour {
		return
	}
	if hour > k.hour {
		k.hour, k.requests, k.ask = hour, 0, w.unusual.Least
	}
	if k.requests += c.Requests; k.requests > k.ask {
		w.suspect(Suspect{Key: c.Key, At: c.Hour, Kind: SuspectRequests, Requests: k.requests})
		k.ask = neverAsk // until the answer
	}
}

// see notes a place of a key, and reports whether there are too many now.
func (w *Watch) see(k *watched, place uint64, at time.Time) bool {
	kept := k.places[:0]
	begin, known := at.Add(-w.unusual.Within).UnixMilli(), false
	for _, p := range k.places {
		if p.hash == place {
			known, p.last = true, max(p.last, at.UnixMilli())
		}
		if p.last >= begin {
			kept = append(kept, p)
		}
	}
	w.places += len(kept) - len(k.places)
	k.places = kept
	if known {
		return false
	}
	w.makeRoom(k)
	k.places = append(k.places, seenPlace{place, at.UnixMilli()})
	w.places++
	return len(k.places) > w.unusual.Places
}

func (w *Watch) suspect(s Suspect) {
	if len(w.suspects) < maxSuspects {
		w.suspects = append(w.suspects, s)
	}
}

func (w *Watch) add(key string) *watched {
	w.makeRoom(nil)
	k := &watched{ask: w.unusual.Least}
	w.keys[key] = k
	return k
}

// drop forgets the places of a key.
func (w *Watch) drop(k *watched) {
	w.places -= len(k.places)
	k.places = nil
}

// makeRoom forgets a key other than keep if there is no room for one more thing:
// of some, the one that has the least to be forgotten.
func (w *Watch) makeRoom(keep *watched) {
	if len(w.keys)+w.places < maxWatched {
		return
	}
	var victim string
	var least *watched
	seen := 0
	for key, k := range w.keys {
		if k == keep {
			continue
		}
		if least == nil || k.lessThan(least) {
			victim, least = key, k
		}
		if seen++; seen == watchSample {
			break
		}
	}
	if least != nil {
		w.drop(least)
		delete(w.keys, victim)
		w.forgotten++
	}
}

// lessThan reports whether less is lost with k than with o.
func (k *watched) lessThan(o *watched) bool {
	if a, b := k.suspended.IsZero(), o.suspended.IsZero(); a != b {
		return a
	}
	if len(k.places) != len(o.places) {
		return len(k.places) < len(o.places)
	}
	return k.requests < o.requests
}

// sweep forgets keys that were not used for so long that nothing about them
// counts any more. Those that we suspended stay.
func (w *Watch) sweep(now time.Time) {
	if now.Sub(w.swept) < watchSweep {
		return
	}
	w.swept = now
	old := now.Add(-max(w.unusual.Within, time.Hour))
	for key, k := range w.keys {
		if k.last.Before(old) && k.quiet.Before(now) && k.suspended.IsZero() {
			w.drop(k)
			delete(w.keys, key)
		}
	}
}
