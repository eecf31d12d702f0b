package hmacsig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var nonceStart = time.Unix(1_700_000_000, 0)

func useNonce(t *testing.T, r *NonceRing, credential string, signed int64, nonce string, now time.Time, want error) {
	t.Helper()
	if err := r.Use(credential, signed, nonce, now); !errors.Is(err, want) {
		t.Errorf("%s %s of %+d s at %+d s: %v, want %v", credential, nonce, signed-nonceStart.Unix(), now.Unix()-nonceStart.Unix(), err, want)
	}
}

func TestNonceRing(t *testing.T) {
	r := NewNonceRing(NonceLimits{}, time.Time{})
	now, s := nonceStart, nonceStart.Unix()
	use := func(credential string, signed int64, nonce string, want error) {
		t.Helper()
		useNonce(t, r, credential, signed, nonce, now, want)
	}
	use("a", s, "n", nil)
	use("a", s, "n", ErrReplay)
	use("b", s, "n", nil)   // nonces are a credential's own
	use("a", s+1, "n", nil) // and a second's: clients with short ones repeat them
	use("a", s, "m", nil)
	use("an", s, "", nil) // not the text "an"
	use("", s, "an", nil)
	use("a", s+60, "late", nil)
	use("a", s+61, "n", ErrStale)
	use("a", s-60, "n", nil)
	use("a", s-61, "n", ErrStale)

	// What was signed a minute ahead is remembered for two minutes.
	now = nonceStart.Add(119 * time.Second)
	use("a", s+60, "late", ErrReplay)
	now = nonceStart.Add(120*time.Second + 999*time.Millisecond)
	use("a", s+60, "late", ErrReplay)
	now = nonceStart.Add(121 * time.Second)
	use("a", s+60, "late", ErrStale)
	use("c", s+121, "n", nil)
	if r.Len() != 1 {
		t.Errorf("%d nonces are remembered, want 1", r.Len())
	}
}

// What another ring let in is spent here too: for times that are yet to come, and
// for times of which nothing is known.
func TestNonceRingNote(t *testing.T) {
	r, s := NewNonceRing(NonceLimits{}, nonceStart), nonceStart.Unix()
	note := func(signed int64, want error) {
		t.Helper()
		if err := r.Note("a", signed, "n", nonceStart); !errors.Is(err, want) {
			t.Errorf("%+d s: %v, want %v", signed-s, err, want)
		}
	}
	note(s+60, nil)
	note(s+60, ErrReplay)
	note(s+200, nil)
	note(s-61, nil) // too old to be let in here
	note(s-61, nil)
	useNonce(t, r, "a", s+60, "n", nonceStart, ErrNonceUnknown)
	later := nonceStart.Add(150 * time.Second)
	useNonce(t, r, "a", s+200, "n", later, ErrReplay)
	useNonce(t, r, "a", s+200, "m", later, nil)
	if err := r.Save(io.Discard); err != nil {
		t.Fatal(err)
	}
	note(s+200, ErrNonceUnknown) // the file would not know of it
}

// Spent spends nothing and knows what was spent, also of what was loaded; what
// may have been spent elsewhere is refused.
func TestNonceRingSpentAndLost(t *testing.T) {
	r, s := NewNonceRing(NonceLimits{}, time.Time{}), nonceStart.Unix()
	if r.Spent("a", s, "n") {
		t.Error("spent before it was used")
	}
	useNonce(t, r, "a", s, "n", nonceStart, nil)
	if !r.Spent("a", s, "n") || r.Spent("b", s, "n") || r.Spent("a", s+1, "n") {
		t.Error("what was used and what was not are taken for each other")
	}
	var file bytes.Buffer
	if err := r.Save(&file); err != nil {
		t.Fatal(err)
	}
	r, err := LoadNonceRing(NonceLimits{}, &file)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Spent("a", s, "n") {
		t.Error("not spent after it was loaded")
	}
	r.Lose(nonceStart)
	useNonce(t, r, "a", s+60, "m", nonceStart, ErrNonceUnknown)
	useNonce(t, r, "a", s+61, "m", nonceStart.Add(time.Second), nil)
	if r.Lose(nonceStart.Add(-time.Hour)); r.Spent("a", s+61, "x") {
		t.Error("spent before it was used")
	}
	useNonce(t, r, "a", s+61, "x", nonceStart.Add(time.Second), nil) // an earlier loss changes nothing
}

// A clock that is set back opens nothing, and closes no more than what was
// forgotten.
func TestNonceRingClockSetBack(t *testing.T) {
	r, s := NewNonceRing(NonceLimits{}, time.Time{}), nonceStart.Unix()
	at := func(offset int64) time.Time { return time.Unix(s+offset, 0) }
	useNonce(t, r, "a", s, "first", at(0), nil)
	useNonce(t, r, "a", s+3600, "hour", at(3600), nil) // here "first" is forgotten

	useNonce(t, r, "a", s, "first", at(0), ErrNonceUnknown)
	useNonce(t, r, "a", s+1, "new", at(0), nil) // a second of which nothing was forgotten
	useNonce(t, r, "a", s+1, "new", at(1), ErrReplay)

	// The hour passes again, and what was spent in it the first time is known.
	useNonce(t, r, "a", s+3540, "new", at(3540), nil)
	useNonce(t, r, "a", s+3600, "hour", at(3540), ErrReplay)
	useNonce(t, r, "a", s+3600, "hour", at(3600), ErrReplay)
	useNonce(t, r, "a", s+1, "new", at(1), ErrNonceUnknown)
}

func TestNonceRingAfterALoss(t *testing.T) {
	lost, s := nonceStart, nonceStart.Unix()
	r := NewNonceRing(NonceLimits{Window: 1500 * time.Millisecond}, lost)
	useNonce(t, r, "a", s, "n", lost, ErrNonceUnknown)
	useNonce(t, r, "a", s+2, "n", lost, ErrNonceUnknown) // it could have been accepted just before
	useNonce(t, r, "a", s+3, "n", lost, ErrStale)
	useNonce(t, r, "a", s+2, "n", lost.Add(2*time.Second), ErrNonceUnknown)
	useNonce(t, r, "a", s+3, "n", lost.Add(2*time.Second), nil)
}

func TestNonceRingLimits(t *testing.T) {
	r := NewNonceRing(NonceLimits{Max: 10, MaxPerCredential: 4}, time.Time{})
	now, s := nonceStart, nonceStart.Unix()
	for i := range int64(4) {
		useNonce(t, r, "greedy", s+i, "n", now, nil)
	}
	useNonce(t, r, "greedy", s+9, "n", now, ErrNonceQuota)
	for i := range 6 {
		useNonce(t, r, fmt.Sprint("other", i), s+20, "n", now, nil)
	}
	useNonce(t, r, "last", s, "n", now, ErrNoncesFull)
	for i := range int64(4) { // none was forgotten
		if err := r.Use("greedy", s+i, "n", now); err == nil {
			t.Error("a full ring forgot a nonce")
		}
	}
	if r.Len() != 10 {
		t.Errorf("%d nonces", r.Len())
	}

	// A second leaves the window, and there is room for one of each.
	now = nonceStart.Add(61 * time.Second)
	useNonce(t, r, "greedy", s+61, "n", now, nil)
	useNonce(t, r, "greedy", s+61, "m", now, ErrNonceQuota)
	useNonce(t, r, "last", s+61, "n", now, ErrNoncesFull)
	now = nonceStart.Add(62 * time.Second)
	useNonce(t, r, "last", s+61, "n", now, nil)
	useNonce(t, r, "last", s+61, "n", now, ErrReplay)
}

// One of a hundred that come at once is accepted.
func TestNonceRingParallel(t *testing.T) {
	for round := range 50 {
		r := NewNonceRing(NonceLimits{}, time.Time{})
		accepted, start, done := atomic.Int32{}, make(chan struct{}), sync.WaitGroup{}
		for i := range 100 {
			done.Go(func() {
				<-start
				now := nonceStart.Add(time.Duration(i%3) * 20 * time.Second) // seconds pass meanwhile
				switch err := r.Use("a", nonceStart.Unix(), strconv.Itoa(round), now); {
				case err == nil:
					accepted.Add(1)
				case !errors.Is(err, ErrReplay):
					t.Error(err)
				}
			})
		}
		close(start)
		done.Wait()
		if accepted.Load() != 1 {
			t.Fatalf("%d accepted", accepted.Load())
		}
	}
}

func TestNonceRingSaved(t *testing.T) {
	limits, s := NonceLimits{Max: 1000}, nonceStart.Unix()
	r := NewNonceRing(limits, time.Time{})
	useNonce(t, r, "a", s, "old", nonceStart, nil)
	now := nonceStart.Add(100 * time.Second)
	for i := range 40 {
		useNonce(t, r, fmt.Sprint("k", i%7), s+100+int64(i%9), fmt.Sprint(i), now, nil)
	}
	for restart := range 3 {
		file := new(bytes.Buffer)
		if err := r.Save(file); err != nil {
			t.Fatal(err)
		}
		useNonce(t, r, "a", s+100, "after", now, ErrNonceUnknown)
		if err := r.Save(new(bytes.Buffer)); err == nil {
			t.Error("a ring was saved twice")
		}
		for cut := range file.Len() {
			if _, err := LoadNonceRing(limits, bytes.NewReader(file.Bytes()[:cut])); !errors.Is(err, ErrNonceFile) {
				t.Fatalf("%d of %d bytes: %v", cut, file.Len(), err)
			}
		}
		for i := range file.Len() {
			damaged := bytes.Clone(file.Bytes())
			damaged[i] ^= 1 << (i % 8)
			if _, err := LoadNonceRing(limits, bytes.NewReader(damaged)); !errors.Is(err, ErrNonceFile) {
				t.Fatalf("byte %d changed: %v", i, err)
			}
		}
		if _, err := LoadNonceRing(limits, bytes.NewReader(append(bytes.Clone(file.Bytes()), 0))); !errors.Is(err, ErrNonceFile) {
			t.Errorf("a byte too many: %v", err)
		}
		if _, err := LoadNonceRing(NonceLimits{Max: 39}, bytes.NewReader(file.Bytes())); !errors.Is(err, ErrNonceFile) {
			t.Errorf("more than fit: %v", err)
		}
		var err error
		if r, err = LoadNonceRing(limits, file); err != nil {
			t.Fatal(err)
		}
		if want := 40 + restart; r.Len() != want {
			t.Errorf("%d nonces were loaded, want %d", r.Len(), want)
		}
		for i := range 40 {
			useNonce(t, r, fmt.Sprint("k", i%7), s+100+int64(i%9), fmt.Sprint(i), now, ErrReplay)
		}
		useNonce(t, r, "a", s, "old", nonceStart, ErrNonceUnknown) // forgotten before the restart
		useNonce(t, r, "a", s+150, fmt.Sprint("new", restart), now, nil)
	}

	// What was loaded leaves the window like the rest, and stays refused.
	now = nonceStart.Add(1000 * time.Second)
	useNonce(t, r, "a", s+1000, "n", now, nil)
	if r.Len() != 1 {
		t.Errorf("%d nonces, want 1", r.Len())
	}
	useNonce(t, r, "k0", s+100, "0", nonceStart.Add(100*time.Second), ErrNonceUnknown)
}

func TestNonceRingSaveFails(t *testing.T) {
	r := NewNonceRing(NonceLimits{}, time.Time{})
	useNonce(t, r, "a", nonceStart.Unix(), "n", nonceStart, nil)
	if err := r.Save(failingWriter{}); !errors.Is(err, errFailingWriter) {
		t.Errorf("%v", err)
	}
	useNonce(t, r, "a", nonceStart.Unix(), "m", nonceStart, ErrNonceUnknown)
}

type failingWriter struct{}

var errFailingWriter = errors.New("no space")

func (failingWriter) Write([]byte) (int, error) { return 0, errFailingWriter }

// The nonces of two minutes at 10,000 a second.
const nonceLoad, nonceLoadSeconds = 1_210_000, 121

func fillNonces(tb testing.TB, r *NonceRing) {
	nonce := []byte("ABCDEFGHIJKLMNOPQRST000000")
	for i := range nonceLoad {
		copy(nonce[20:], strconv.Itoa(100_000+i%900_000))
		nonce[0] = byte(i / 900_000)
		second := int64(i * nonceLoadSeconds / nonceLoad)
		now := time.Unix(nonceStart.Unix()+second-60, 0)
		if second < 60 {
			now = nonceStart
		}
		if err := r.Use(nonceCredentials[i%len(nonceCredentials)], nonceStart.Unix()+second, string(nonce), now); err != nil {
			tb.Fatal(err)
		}
	}
}

var nonceCredentials = func() (names [1000]string) {
	for i := range names {
		names[i] = fmt.Sprintf("key_0123456789abcdef%04d", i)
	}
	return names
}()

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestNonceRingMemory(t *testing.T) {
	before := heapInUse()
	r := NewNonceRing(NonceLimits{}, time.Time{})
	fillNonces(t, r)
	took := int64(heapInUse()) - int64(before)
	if r.Len() != nonceLoad {
		t.Fatalf("%d nonces", r.Len())
	}
	t.Logf("%d nonces of %d credentials: %.1f MB, %.1f bytes each", nonceLoad, len(nonceCredentials), float64(took)/1e6, float64(took)/nonceLoad)
	if took > 60_000_000 {
		t.Errorf("%d nonces take %d bytes", nonceLoad, took)
	}
	runtime.KeepAlive(r)
}

func BenchmarkNonceRing(b *testing.B) {
	for _, credentials := range []int{1, 1000} {
		b.Run(fmt.Sprint("credentials ", credentials), func(b *testing.B) {
			b.ReportAllocs()
			r := NewNonceRing(NonceLimits{MaxPerCredential: 2_000_000}, time.Time{})
			nonce, i := []byte("ABCDEFGHIJKLMNOPQR"), 0
			for b.Loop() {
				i++ // 10,000 a second
				for n, at := i, 0; at < 8; n, at = n/26, at+1 {
					nonce[at] = 'A' + byte(n%26)
				}
				now := time.Unix(nonceStart.Unix()+int64(i/10_000), 0)
				if err := r.Use(nonceCredentials[i%credentials], now.Unix(), string(nonce), now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
