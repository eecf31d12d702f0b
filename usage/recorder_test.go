package usage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a store that adds counters up by what they count.
type memory struct {
	Store
	mu       sync.Mutex
	fail     error
	batches  [][16]byte
	counters map[string]*Counter
	scopes   []ScopeUse
	calls    []Call
	gaps     []Gap
}

func (m *memory) Add(_ context.Context, b Batch) (Added, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches = append(m.batches, b.ID)
	if m.fail != nil {
		return Added{}, m.fail
	}
	if m.counters == nil {
		m.counters = make(map[string]*Counter)
	}
	for _, c := range b.Counters {
		name := fmt.Sprint(c.Event, c.Hour)
		sum := m.counters[name]
		if sum == nil {
			sum = &Counter{Event: c.Event, Hour: c.Hour, First: c.First}
			m.counters[name] = sum
		}
		sum.Requests += c.Requests
		sum.Bytes += c.Bytes
		for i := range c.Statuses {
			sum.Statuses[i] += c.Statuses[i]
		}
		if c.Last.After(sum.Last) {
			sum.Last = c.Last
		}
	}
	m.scopes, m.calls, m.gaps = append(m.scopes, b.Scopes...), append(m.calls, b.Calls...), append(m.gaps, b.Gaps...)
	return Added{}, nil
}

// sum adds up the counters that choose chooses.
func (m *memory) sum(choose func(*Counter) bool) (total Counter, rows int) {
	for _, c := range m.counters {
		if choose(c) {
			rows++
			total.Requests += c.Requests
			total.Bytes += c.Bytes
			for i := range c.Statuses {
				total.Statuses[i] += c.Statuses[i]
			}
		}
	}
	return total, rows
}

func all(*Counter) bool { return true }

func keyNo(i int) (key [KeyLen]byte) {
	copy(key[:], fmt.Sprintf("key_%020d", i))
	return key
}

func addrNo(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func newRecorder(t *testing.T, m *memory, opts Options) *Recorder {
	t.Helper()
	r := NewRecorder(m, opts)
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

func TestCountsOfManyAtOnceAreComplete(t *testing.T) {
	m := new(memory)
	r := newRecorder(t, m, Options{})
	route, refused := r.Route(Route{Site: "api", Rules: []string{"read"}}), NumberOf("missing_scope")
	const workers, each = 8, 20_000
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				use := Use{Key: keyNo(i % 50), Credential: 1, Route: route, Place: PlaceOf(addrNo(i % 300))}
				if i%4 == 0 {
					use.Reason = refused
				}
				counted := r.Begin(&use, time.Now())
				counted.End(200+100*(w%4), 10)
				if i%5000 == 0 {
					if err := r.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	total, _ := m.sum(all)
	if total.Requests != workers*each || total.Bytes != workers*each*10 || total.Statuses[2]+total.Statuses[3]+total.Statuses[4]+total.Statuses[5] != workers*each {
		t.Errorf("%+v; want %d requests", total, workers*each)
	}
	denied, _ := m.sum(func(c *Counter) bool { return c.Reason == "missing_scope" })
	if denied.Requests != workers*each/4 {
		t.Errorf("%d refused; want %d", denied.Requests, workers*each/4)
	}
}

func TestPlacesOfAKeyAreBounded(t *testing.T) {
	m := new(memory)
	r := newRecorder(t, m, Options{})
	const n = 5000
	for i := range n {
		r.Begin(&Use{Key: keyNo(1), Place: PlaceOf(addrNo(i))}, time.Now()).End(200, 1)
	}
	for i := range 3 * maxStrangers {
		r.Begin(&Use{Reason: NumberOf("unknown_key"), Place: PlaceOf(addrNo(i))}, time.Now()).End(401, 1)
	}
	// Another key is counted as ever.
	r.Begin(&Use{Key: keyNo(2), Place: PlaceOf(addrNo(9))}, time.Now()).End(200, 1)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key    string
		most   int
		want   uint64
		others bool
	}{{keyText(keyNo(1)), maxPlaces, n, true}, {"", maxStrangers, 3 * maxStrangers, true}, {keyText(keyNo(2)), 1, 1, false}} {
		total, rows := m.sum(func(x *Counter) bool { return x.Key == c.key })
		if total.Requests != c.want || rows > c.most+1 {
			t.Errorf("key %q: %d requests in %d rows; want %d in at most %d", c.key, total.Requests, rows, c.want, c.most+1)
		}
		_, others := m.sum(func(x *Counter) bool { return x.Key == c.key && x.Place == Other })
		if others == 1 != c.others {
			t.Errorf("key %q: %d rows for other places", c.key, others)
		}
	}
}

func TestCountsAreWrittenEverySecondAndByHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(memory)
		r := newRecorder(t, m, Options{})
		use := Use{Key: keyNo(1), Place: PlaceOf(addrNo(1))}
		// Time begins at midnight, so this is half a second before an hour.
		time.Sleep(time.Hour - 500*time.Millisecond)
		long := r.Begin(&use, time.Now())
		time.Sleep(time.Second)
		synctest.Wait()
		r.Begin(&use, time.Now()).End(200, 7)
		time.Sleep(FlushInterval)
		synctest.Wait()
		if total, rows := m.sum(all); total.Requests != 2 || rows != 2 {
			t.Errorf("%d requests in %d hours; want 2 in 2", total.Requests, rows)
		}
		// A long request counts when it began, its answer when it ends, also if
		// nobody used the key in between.
		time.Sleep(5 * time.Hour)
		if r.cells.count.Load() != 0 {
			t.Error("what nobody uses is kept in memory")
		}
		long.End(204, 30)
		time.Sleep(2 * FlushInterval)
		synctest.Wait()
		if total, _ := m.sum(all); total.Requests != 2 || total.Bytes != 37 || total.Statuses[2] != 2 {
			t.Errorf("%+v", total)
		}
	})
}

func TestNothingIsLostWhileTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{fail: errors.New("no space left on device")}
		r := newRecorder(t, m, Options{})
		for range 10 {
			r.Begin(&Use{Key: keyNo(1)}, time.Now()).End(200, 1)
			time.Sleep(FlushInterval)
		}
		synctest.Wait()
		if err, since := r.Health(); err == nil || time.Since(since) < 8*time.Second {
			t.Errorf("health says %v since %s", err, since)
		}
		for _, id := range m.batches {
			if id != m.batches[0] {
				t.Error("the batch that failed came again under another id")
			}
		}
		m.mu.Lock()
		m.fail = nil
		m.mu.Unlock()
		time.Sleep(2 * FlushInterval)
		synctest.Wait()
		if total, _ := m.sum(all); total.Requests != 10 {
			t.Errorf("%d requests; want 10", total.Requests)
		}
		if err, _ := r.Health(); err != nil {
			t.Errorf("health still says %v", err)
		}
	})
}

func TestCloseWritesWhatIsLeft(t *testing.T) {
	m := new(memory)
	r := NewRecorder(m, Options{})
	r.Begin(&Use{Key: keyNo(1)}, time.Now()).End(200, 1)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if total, _ := m.sum(all); total.Requests != 1 {
		t.Errorf("%d requests; want 1", total.Requests)
	}
}

func TestCallsAreBoundedAndHarmless(t *testing.T) {
	m := new(memory)
	scrub := func(s string) string { return strings.ReplaceAll(s, "ck_secret", "[key]") }
	r := newRecorder(t, m, Options{Scrub: scrub})
	follower := r.Follow(keyText(keyNo(1)))
	for _, c := range []struct{ path, want, agent, wantAgent string }{
		{"/a?token=x", "/a", "curl/8", "curl/8"},
		{"/bot/ck_secret/go", "/bot/[key]/go", "ck_secret", "[key]"},
		{"/" + strings.Repeat("x", 2*MaxPath) + "?y", "/" + strings.Repeat("x", MaxPath-1) + "…", strings.Repeat("y", 2*MaxUserAgent), strings.Repeat("y", MaxUserAgent) + "…"},
		{"/ä", "/ä", "\x1b[31mred\r\nset \"x\"\xff", `\x1b[31mred\r\nset "x"\xff`},
	} {
		m.calls = nil
		r.Call(&CallSeen{Key: keyNo(1), Began: time.Now(), Method: "GET", Path: c.path, UserAgent: c.agent, RequestID: r.NextRequestID()})
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := m.calls[0]; got.Path != c.want || got.UserAgent != c.wantAgent || got.Method != "GET" || len(got.RequestID) != 13 {
			t.Errorf("%q, %q became %q, %q, method %q, id %q", c.path, c.agent, got.Path, got.UserAgent, got.Method, got.RequestID)
		}
		if followed := <-follower.Calls(); followed.Path != c.want {
			t.Errorf("the follower got %q", followed.Path)
		}
	}
	follower.Stop()
	if _, open := <-follower.Calls(); open {
		t.Error("a follower that stopped gets calls")
	}
}

func TestCallsInExcessAreAGap(t *testing.T) {
	m := &memory{fail: errors.New("not now")}
	r := newRecorder(t, m, Options{})
	const n = ringCount*ringSize + 3000
	r.mu.Lock() // as if the store took its time
	for i := range n {
		r.Call(&CallSeen{Key: keyNo(i), Began: time.Now()})
	}
	r.mu.Unlock()
	m.mu.Lock()
	m.fail = nil
	m.mu.Unlock()
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, g := range m.gaps {
		if g.Why == GapOverflow {
			lost++
		}
	}
	if got := uint64(len(m.calls)) + r.Lost(); got != n || r.Lost() == 0 || lost == 0 {
		t.Errorf("%d calls written, %d lost, %d gaps; want %d in all", len(m.calls), r.Lost(), lost, n)
	}
}

func TestOnlyTheNewestCallsOfAKeyAreWritten(t *testing.T) {
	m := new(memory)
	r := newRecorder(t, m, Options{LastCalls: 3})
	r.mu.Lock()
	began := time.Now()
	for i := range 20 {
		r.Call(&CallSeen{Key: keyNo(1), Began: began.Add(time.Duration(19-i) * time.Millisecond), Status: 219 - i})
	}
	r.Call(&CallSeen{Key: keyNo(2), Began: began, Status: 500})
	r.mu.Unlock()
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, c := range m.calls {
		got = append(got, c.Status)
	}
	if fmt.Sprint(got) != "[217 218 219 500]" {
		t.Errorf("written: %v", got)
	}
}

// discard is a store that keeps nothing.
type discard struct{ Store }

func (discard) Add(context.Context, Batch) (Added, error) { return Added{}, nil }

func TestRoutesAreBounded(t *testing.T) {
	n := newRoutes()
	for i := range maxRoutes + 10 {
		n.number(Route{Site: fmt.Sprint(i)})
	}
	if got := len(*n.list.Load()); got != maxRoutes {
		t.Errorf("%d routes", got)
	}
	if n.number(Route{Site: "7"}) != 8 || n.number(Route{Site: "new"}) != 0 {
		t.Error("a known route lost its number, or a new one got one")
	}
}

func BenchmarkAccounting(b *testing.B) {
	r := NewRecorder(discard{}, Options{})
	defer r.Close(context.Background())
	route := r.Route(Route{Site: "api", Rules: []string{"read"}})
	addr := netip.MustParseAddr("203.0.113.7")
	one := func(key [KeyLen]byte, calls bool) {
		began := time.Now()
		counted := r.Begin(&Use{Key: key, Credential: 1, Route: route, Place: PlaceOf(addr)}, began)
		counted.End(200, 1234)
		if calls {
			r.Call(&CallSeen{Key: key, Credential: 1, Route: route, Began: began, Duration: time.Since(began), Method: "GET",
				Path: "/v1/contacts/export?limit=100", UserAgent: "curl/8.5.0", Addr: addr, Status: 200, Bytes: 1234, RequestID: r.NextRequestID()})
		}
	}
	for _, c := range []struct {
		name  string
		keys  int
		calls bool
	}{{"one_key", 1, false}, {"one_key_and_call", 1, true}, {"1000_keys", 1000, false}, {"1000_keys_and_call", 1000, true}} {
		keys := make([][KeyLen]byte, c.keys)
		for i := range keys {
			keys[i] = keyNo(i)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				one(keys[i%len(keys)], c.calls)
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					one(keys[i%len(keys)], c.calls)
				}
			})
		})
	}
}
