package limit

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testClock has a wall clock that can be set beside its monotonic one.
type testClock struct {
	mono time.Duration
	wall time.Time
}

func newTestClock(wall string) *testClock {
	at, err := time.Parse(time.RFC3339, wall)
	if err != nil {
		panic(err)
	}
	return &testClock{wall: at}
}

func (c *testClock) pass(d time.Duration) { c.mono += d; c.wall = c.wall.Add(d) }

// on has a table go by the clock.
func (c *testClock) on(t *Table) *Table {
	opened := c.mono
	t.clock = clock{func() time.Time { return c.wall }, c.wall.UnixMilli(), func(time.Time) time.Duration { return c.mono - opened }}
	return t
}

func limits(texts ...string) []Limit {
	list, _, err := ParseAll(texts)
	if err != nil {
		panic(err)
	}
	return list
}

func keyRequest(name string, cost uint64, texts ...string) *Request {
	return &Request{Key: Carrier{Name: []byte(name), Own: limits(texts...)}, Cost: cost}
}

func look(t *testing.T, table *Table, c Carrier, org bool) []State {
	t.Helper()
	states, err := table.Look(c, org)
	if err != nil {
		t.Fatal(err)
	}
	return states
}

// take reports whether a request is let in.
func take(t *testing.T, table *Table, r *Request) bool {
	t.Helper()
	_, err := table.Take(t.Context(), r, nil)
	if err != nil && !errors.Is(err, ErrExceeded) {
		t.Fatal(err)
	}
	return err == nil
}

// takeAll takes until there is no room and returns how often there was.
func takeAll(t *testing.T, table *Table, r *Request) (n int) {
	t.Helper()
	for take(t, table, r) {
		n++
	}
	return n
}

// TestWindowNeverHoldsMore compares with a list of everything that was let in: no
// window, wherever it is laid, holds more than the amount; what is refused would
// have been refused with windows that are longer by a 31st; and it is let in when
// the state said so.
func TestWindowNeverHoldsMore(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, span := range []Span{1, 7, 60, 3600} {
		clock := newTestClock("2026-11-27T12:00:00Z")
		table := clock.on(New(nil))
		const amount = 20
		type spent struct {
			at    time.Duration
			units uint64
		}
		var log []spent
		within := func(window time.Duration) (sum uint64) {
			for _, s := range log {
				if s.at > clock.mono-window {
					sum += s.units
				}
			}
			return sum
		}
		slack := time.Duration(2 * span.step()) // of the step that is being filled, and of the one that falls out
		for range 20_000 {
			clock.pass(time.Duration(rnd.Int64N(int64(span.Window()) / 15)))
			r := &Request{Key: Carrier{Name: []byte("k"), Own: []Limit{{amount, span}}}, Cost: 1 + rnd.Uint64N(4)}
			states, err := table.Take(t.Context(), r, nil)
			switch {
			case err == nil:
				log = append(log, spent{clock.mono, r.Cost})
				if len(log) > 100 {
					log = log[50:]
				}
				if held := within(span.Window()); held > amount || states[0].Left > amount-held {
					t.Fatalf("%v: %d in the window, %d said to be left", span, held, states[0].Left)
				}
			case within(span.Window()+slack)+r.Cost <= amount:
				t.Fatalf("%v: refused with %d in the window", span, within(span.Window()+slack))
			case rnd.IntN(4) == 0:
				clock.pass(states[0].Wait - 1)
				if take(t, table, r) {
					t.Fatalf("%v: let in sooner than after %v", span, states[0].Wait)
				}
				clock.pass(1)
				if !take(t, table, r) {
					t.Fatalf("%v: not let in after %v", span, states[0].Wait)
				}
				log = append(log, spent{clock.mono, r.Cost})
			}
		}
	}
}

func TestAllOrNothing(t *testing.T) {
	clock := newTestClock("2026-11-27T12:00:00Z")
	table := clock.on(New(nil))
	r := keyRequest("k", 1, "5/1s", "100/1h")
	r.Org = Carrier{Name: []byte("acme"), Own: limits("3/1m", "1000/day")}
	if n := takeAll(t, table, r); n != 3 {
		t.Errorf("%d let in", n)
	}
	for range 10 {
		take(t, table, r)
	}
	states := append(look(t, table, r.Key, false), look(t, table, r.Org, true)...)
	for i, want := range []uint64{2, 97, 0, 997} {
		if states[i].Left != want {
			t.Errorf("%v: %d left, want %d", states[i].Limit, states[i].Left, want)
		}
	}
	other := keyRequest("other", 1, "5/1s")
	other.Org = r.Org
	if take(t, table, other) {
		t.Error("the org's limit is not shared")
	}
	if !take(t, table, keyRequest("other", 5, "5/1s")) {
		t.Error("a refused request took from the key")
	}
}

func TestTierGivesWayToOwn(t *testing.T) {
	table := New(nil)
	r := &Request{Key: Carrier{Name: []byte("k"), Own: limits("3/1h"), Tier: limits("1/1h", "2/day")}, Cost: 1}
	if n := takeAll(t, table, r); n != 2 {
		t.Errorf("%d let in by 3/1h of its own and 2/day of its tier", n)
	}
	// In another tier, and without limits of its own, it has spent what it has.
	r.Key.Own, r.Key.Tier = nil, limits("5/1h")
	if n := takeAll(t, table, r); n != 3 {
		t.Errorf("%d more let in by 5/1h", n)
	}
}

func TestChangedLimitsKeepWhatWasSpent(t *testing.T) {
	table := New(nil)
	take(t, table, keyRequest("k", 50, "100/1h", "100/month"))
	if take(t, table, keyRequest("k", 1, "20/1h")) || take(t, table, keyRequest("k", 1, "20/month")) {
		t.Error("a lower limit does not count what was spent")
	}
	if n := takeAll(t, table, keyRequest("k", 1, "60/1h", "70/month")); n != 10 {
		t.Errorf("%d let in by 60 after 50", n)
	}
}

func TestCost(t *testing.T) {
	table := New(nil)
	if !take(t, table, keyRequest("k", 0, "1/1h")) || !take(t, table, keyRequest("k", 1, "1/1h")) || !take(t, table, keyRequest("k", 0, "1/1h")) {
		t.Error("what costs nothing is refused, or spends")
	}
	if take(t, table, keyRequest("other", MaxCost, "1000/1h")) {
		t.Error("a cost above the limit is let in")
	}
	if states, _ := table.Take(t.Context(), keyRequest("other", MaxCost, "1000/1h"), nil); states[0].Wait != time.Hour || states[0].Left != 1000 {
		t.Errorf("%+v", states[0])
	}
}

func TestGiveBack(t *testing.T) {
	clock := newTestClock("2026-11-27T23:59:00Z")
	table := clock.on(New(nil))
	r := keyRequest("k", 3, "10/1s", "20/day")
	r.Org = Carrier{Name: []byte("acme"), Own: limits("30/1h")}
	states, err := table.Take(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	clock.pass(300 * time.Millisecond)
	late, err := table.Take(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := func(wants ...uint64) {
		t.Helper()
		for i, s := range append(look(t, table, r.Key, false), look(t, table, r.Org, true)...) {
			if s.Left != wants[i] {
				t.Errorf("%v: %d left, want %d", s.Limit, s.Left, wants[i])
			}
		}
	}
	table.GiveBack(states, r.Cost)
	want(7, 17, 27)
	clock.pass(10 * time.Minute) // the window is empty, the day another one
	take(t, table, keyRequest("k", 1, "10/1s", "20/day"))
	clock.wall = clock.wall.AddDate(0, 0, 1)
	take(t, table, keyRequest("k", 1, "20/day"))
	table.GiveBack(late, r.Cost)
	want(9, 19, 30)
}

func TestCalendar(t *testing.T) {
	clock := newTestClock("2028-02-28T23:59:58Z")
	table := clock.on(New(nil))
	r := keyRequest("k", 1, "2/day", "5/month")
	if n := takeAll(t, table, r); n != 2 {
		t.Errorf("%d on the 28th", n)
	}
	states, _ := table.Take(t.Context(), r, nil)
	if states[0].Wait != 2*time.Second || !states[0].Exceeded || states[1].Exceeded || states[1].More != 86402*time.Second {
		t.Errorf("%+v", states)
	}
	clock.pass(2 * time.Second)
	if n := takeAll(t, table, r); n != 2 {
		t.Errorf("%d on the 29th", n)
	}
	clock.pass(24 * time.Hour)
	if n := takeAll(t, table, r); n != 2 {
		t.Errorf("%d on the 1st of March", n)
	}
}

// A clock that is set back or ahead, by hours or by years, between restarts and
// crashes: no day ever has more than its amount.
func TestClockSetBack(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir()
	for round := range 100 {
		clock := newTestClock("2026-11-27T12:00:00Z")
		path := filepath.Join(dir, strconv.Itoa(round))
		table := clock.on(Open(Options{Path: path}))
		spent := make(map[int32]int) // by the day that it was counted in
		for range 120 {
			switch rnd.IntN(12) {
			case 0:
				clock.wall = clock.wall.AddDate(rnd.IntN(20)/19, 0, rnd.IntN(7)-3)
			case 1:
				clock.pass(time.Duration(rnd.Int64N(int64(48 * time.Hour))))
			case 2:
				table.Sweep()
			case 3:
				switch rnd.IntN(4) {
				case 0: // after a restart the wall clock is believed again
					if err := table.Close(); err != nil {
						t.Fatal(err)
					}
					table = clock.on(Open(Options{Path: path}))
				case 1:
					crashed := table
					table = clock.on(Open(Options{Path: path}))
					crashed.book.path = filepath.Join(dir, "crashed")
					_ = crashed.Close()
				}
			case 4: // looked at, and not spent
				_, _ = table.Take(t.Context(), keyRequest("k", 9, "3/day"), nil)
			case 5:
				if states, err := table.Take(t.Context(), keyRequest("k", 1, "3/day"), nil); err == nil {
					table.GiveBack(states, 1)
				}
			default:
				if states, err := table.Take(t.Context(), keyRequest("k", 1, "3/day"), nil); err == nil {
					spent[states[0].period.number]++
				}
			}
		}
		for day, n := range spent {
			if n > 3 {
				t.Fatalf("round %d: %d of 3 on day %d", round, n, day)
			}
		}
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A clock that is ahead by years for a moment costs no more than the period that
// it was in.
func TestClockFarAheadForAMoment(t *testing.T) {
	clock := newTestClock("2026-11-27T12:00:00Z")
	table := clock.on(New(nil))
	r, other := keyRequest("k", 1, "3/month"), keyRequest("idle", 1, "3/month")
	takeAll(t, table, r)
	takeAll(t, table, other)
	clock.wall = clock.wall.AddDate(74, 0, 0)
	takeAll(t, table, r)
	table.Sweep()
	clock.wall = clock.wall.AddDate(-74, 0, 0)
	if n := takeAll(t, table, r); n != 0 {
		t.Errorf("%d more in November", n)
	}
	late := takeAll(t, table, other) // it was forgotten: what it spends now is of December
	clock.wall = clock.wall.AddDate(0, 0, 10)
	if n := takeAll(t, table, r); n != 3 {
		t.Errorf("%d in December", n)
	}
	if n := takeAll(t, table, other); n+late != 3 {
		t.Errorf("%d and %d in December", late, n)
	}
}

func TestSweep(t *testing.T) {
	clock := newTestClock("2026-11-27T12:00:00Z")
	table := clock.on(New(nil))
	take(t, table, keyRequest("window", 1, "3/1m"))
	take(t, table, keyRequest("quota", 1, "3/day"))
	take(t, table, keyRequest("refused", 5, "3/day"))
	take(t, table, &Request{Org: Carrier{Name: []byte("acme"), Own: limits("5/1h")}, Cost: 1})
	sizes := func(wantKeys, wantOrgs int) {
		t.Helper()
		table.Sweep()
		if keys, orgs := table.Size(); keys != wantKeys || orgs != wantOrgs {
			t.Errorf("%d keys and %d orgs, want %d and %d", keys, orgs, wantKeys, wantOrgs)
		}
	}
	sizes(2, 1)
	clock.pass(2 * time.Minute)
	sizes(1, 1)
	clock.pass(2 * time.Hour)
	sizes(1, 0)
	clock.pass(24 * time.Hour)
	sizes(1, 0) // the day before is kept
	clock.pass(24 * time.Hour)
	sizes(0, 0)
}

// A thousand requests at once on what is left: exactly that many are let in,
// whether the limit is a window, a quota on disk, or of the org.
func TestParallelIsExact(t *testing.T) {
	for _, text := range []string{"500/1h", "500/month", "100/day"} {
		for _, org := range []bool{false, true} {
			table := Open(Options{Path: filepath.Join(t.TempDir(), "limits")})
			var accepted atomic.Int64
			var wg sync.WaitGroup
			for i := range 1000 {
				r := keyRequest("k", 1, "1000000/1h")
				if org {
					r.Key.Name = []byte{'k', byte(i), byte(i >> 8)}
					r.Org = Carrier{Name: []byte("acme"), Own: limits(text)}
				} else {
					r.Key.Own = limits(text)
				}
				wg.Go(func() {
					switch _, err := table.Take(context.Background(), r, nil); {
					case err == nil:
						accepted.Add(1)
					case !errors.Is(err, ErrExceeded):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if want := int64(limits(text)[0].Amount); accepted.Load() != want {
				t.Errorf("%s, org %v: %d let in", text, org, accepted.Load())
			}
			if err := table.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
