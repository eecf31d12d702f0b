package usage

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var noon = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

// used is a batch in which a key was let in from each of some places.
func used(key string, at time.Time, requests uint64, places ...int) *Batch {
	b := new(Batch)
	for _, n := range places {
		place := PlaceOf(netip.AddrFrom4([4]byte{203, byte(n >> 16), byte(n >> 8), byte(n)}))
		b.Counters = append(b.Counters, Counter{
			Event: Event{Key: key, Place: place}, Hour: at.Truncate(time.Hour), Requests: requests, First: at, Last: at,
		})
	}
	return b
}

func newWatch(u Unusual) *Watch {
	w := NewWatch()
	w.Set(u)
	return w
}

// kinds notes a batch and returns what is suspect about it.
func (w *Watch) kinds(b *Batch) (list []SuspectKind) {
	w.Note(b)
	for _, s := range w.Take() {
		list = append(list, s.Kind)
	}
	return list
}

func wantKinds(t *testing.T, what string, got []SuspectKind, want ...SuspectKind) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: suspect of %v, want %v", what, got, want)
	}
}

func TestManyPlacesAtOnce(t *testing.T) {
	w := newWatch(Unusual{Places: 3, Within: 10 * time.Minute})
	wantKinds(t, "as many as are usual", w.kinds(used("a", noon, 1, 1, 2, 3)))
	wantKinds(t, "the same again", w.kinds(used("a", noon.Add(time.Minute), 1, 3, 2, 1)))
	wantKinds(t, "another key", w.kinds(used("b", noon, 1, 4, 5)))
	wantKinds(t, "one that moves about", w.kinds(used("c", noon, 1, 1, 2, 3)))
	wantKinds(t, "from elsewhere, later", w.kinds(used("c", noon.Add(10*time.Minute+time.Millisecond), 1, 4, 5, 6)))
	w.Note(used("a", noon.Add(11*time.Minute), 1, 4)) // the others were seen less than ten minutes ago
	got := w.Take()
	if len(got) != 1 || got[0].Key != "a" || got[0].Kind != SuspectPlaces || got[0].Places != 4 || !got[0].At.Equal(noon.Add(11*time.Minute)) {
		t.Fatalf("%+v", got)
	}
	wantKinds(t, "told already", w.kinds(used("a", noon.Add(12*time.Minute), 1, 1, 2, 3, 4, 5, 6)))
	wantKinds(t, "a new window", w.kinds(used("a", noon.Add(21*time.Minute), 1, 1, 2, 3, 4)), SuspectPlaces)
}

func TestRefusalsAreNoUse(t *testing.T) {
	w := newWatch(Unusual{Places: 1, Within: time.Minute, Least: 1})
	for _, change := range []func(*Counter){
		func(c *Counter) { c.Reason = "address_not_allowed" },
		func(c *Counter) { c.Reason, c.Observed = "address_not_allowed", true },
		func(c *Counter) { c.Key = "" },
		func(c *Counter) { c.Requests = 0 }, // the end of a long one
	} {
		b := used("a", noon, 9, 1, 2, 3)
		for i := range b.Counters {
			change(&b.Counters[i])
		}
		wantKinds(t, fmt.Sprintf("%+v", b.Counters[0]), w.kinds(b))
	}
	w.Set(Unusual{})
	wantKinds(t, "nothing is unusual", w.kinds(used("a", noon, 9, 1, 2, 3)))
	if len(w.keys) != 0 {
		t.Error("keys are remembered for nothing")
	}
}

func TestManyRequests(t *testing.T) {
	w := newWatch(Unusual{Least: 100})
	wantKinds(t, "as many as are usual", w.kinds(used("a", noon, 50, 1, 2)))
	w.Note(used("a", noon.Add(time.Minute), 1, 1))
	got := w.Take()
	if len(got) != 1 || got[0].Kind != SuspectRequests || got[0].Requests != 101 || !got[0].At.Equal(noon) {
		t.Fatalf("%+v", got)
	}
	wantKinds(t, "asked about", w.kinds(used("a", noon.Add(2*time.Minute), 1000, 1)))
	w.Ask(got[0], 2000)
	wantKinds(t, "not so many", w.kinds(used("a", noon.Add(3*time.Minute), 899, 1)))
	wantKinds(t, "so many", w.kinds(used("a", noon.Add(4*time.Minute), 1, 1)), SuspectRequests)
	wantKinds(t, "another hour", w.kinds(used("a", noon.Add(time.Hour), 100, 1)))
	w.Ask(got[0], 0) // about an hour that is over
	wantKinds(t, "a late batch", w.kinds(used("a", noon, 1000, 1)))
	wantKinds(t, "that hour", w.kinds(used("a", noon.Add(time.Hour), 1, 1)), SuspectRequests)
}

// Who resumes a key that was suspended is right about it, until everything was
// seen anew.
func TestResumedKeys(t *testing.T) {
	w := newWatch(Unusual{Places: 2, Within: 10 * time.Minute, Least: 100})
	wantKinds(t, "before", w.kinds(used("a", noon, 40, 1, 2, 3)), SuspectPlaces, SuspectRequests)
	w.Suspended("a", noon.Add(time.Second))
	wantKinds(t, "let in before", w.kinds(used("a", noon.Add(2*time.Second), 90, 4, 5, 6)))
	at := noon.Add(30 * time.Minute)
	wantKinds(t, "resumed", w.kinds(used("a", at, 90, 1, 2, 3, 4)))
	wantKinds(t, "within the window", w.kinds(used("a", at.Add(10*time.Minute-1), 90, 1, 2, 3, 4)))
	wantKinds(t, "a new window", w.kinds(used("a", at.Add(10*time.Minute), 90, 1, 2, 3)), SuspectPlaces)
	wantKinds(t, "a new hour", w.kinds(used("a", at.Add(time.Hour), 101, 1)), SuspectRequests)
}

// However many keys and places there are, so much is remembered, and a key that
// is seen from ever more places rather than others.
func TestWatchIsBounded(t *testing.T) {
	w := newWatch(Unusual{Places: 20, Within: 10 * time.Minute, Least: 1000})
	busy := 0
	for i := range 300_000 {
		w.Note(used(fmt.Sprint("key", i), noon, 1, i%7))
		if i%10_000 == 0 {
			w.Note(used("busy", noon, 1, busy))
			busy++
		}
	}
	if len(w.keys)+w.places > maxWatched {
		t.Errorf("%d keys, %d places", len(w.keys), w.places)
	}
	if got := w.Take(); len(got) != 1 || got[0].Key != "busy" {
		t.Errorf("suspects %v", got)
	}
	if w.Forgotten() == 0 {
		t.Error("nothing says that keys were forgotten")
	}
	places := 0
	for _, k := range w.keys {
		places += len(k.places)
	}
	if places != w.places {
		t.Errorf("%d places are counted as %d", places, w.places)
	}
	w.Note(used("new", noon.Add(2*time.Hour), 1, 1))
	if len(w.keys) > 1 {
		t.Errorf("%d keys are left after two hours", len(w.keys))
	}
}

// Suspects that nobody takes do not pile up.
func TestSuspectsAreBounded(t *testing.T) {
	w := newWatch(Unusual{Places: 1, Within: time.Minute})
	for i := range 2 * maxSuspects {
		w.Note(used(fmt.Sprint("key", i), noon, 1, 1, 2))
	}
	list := w.Take()
	w.Note(used("one more", noon, 1, 1, 2))
	w.Return(list)
	if got := len(w.Take()); len(list) != maxSuspects || got != maxSuspects {
		t.Errorf("%d, then %d suspects", len(list), got)
	}
}

func BenchmarkWatch(b *testing.B) {
	w := newWatch(Unusual{Places: 20, Within: 10 * time.Minute, Least: 1 << 60})
	batch := new(Batch)
	for i := range 10_000 {
		batch.Counters = append(batch.Counters, used(fmt.Sprintf("key_%020d", i), noon, 1, i).Counters...)
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Note(batch)
	}
}
