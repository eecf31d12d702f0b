package lockout

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// host returns one of 2^40 networks.
func host(i uint64) netip.Addr {
	addr := [16]byte{0x20, 0x01, 0x0d}
	binary.BigEndian.PutUint64(addr[3:], i<<24)
	return netip.AddrFrom16(addr)
}

// A flood of addresses that are seen once displaces neither a lock nor a counter that is near its limit,
// nor grows the table.
func TestFloodOfOneShots(t *testing.T) {
	limits := Limits{Counters: 1 << 13, Locks: 1 << 10}
	table := New(limits)
	g := guard(t, table, policy(Rule{Refused, 20, time.Hour}))
	const victims = 300
	for i := range uint64(victims) {
		if times(g, host(i), Refused, 20) != 1 || times(g, host(1000+i), Refused, 19) != 0 {
			t.Fatal("not as it should be")
		}
	}
	for i := range uint64(20 * limits.Counters) {
		g.Count(host(1<<20+i), Refused)
	}
	for i := range uint64(victims) {
		if g.Remaining(host(i)) == 0 {
			t.Fatalf("the flood ended lock %d", i)
		}
		if times(g, host(1000+i), Refused, 1) != 1 {
			t.Fatalf("the flood displaced counter %d", i)
		}
	}
	stats := table.Stats()
	if most := limits.Counters + counterShards; stats.Counters > most || stats.Displaced == 0 {
		t.Errorf("%+v, want up to %d counters", stats, most)
	}
}

// An address that tries again and again is caught in the middle of a flood.
func TestFloodHidesNobody(t *testing.T) {
	g := guard(t, New(Limits{Counters: 1 << 12, Locks: 1 << 10}), policy(Rule{Refused, 20, time.Hour}))
	for i := range uint64(1 << 16) {
		g.Count(host(1<<20+i), Refused)
	}
	locked := false
	for i := range uint64(20) {
		for j := range uint64(500) { // that many others between two tries
			g.Count(host(1<<30+i*1000+j), Refused)
		}
		_, locked = g.Count(attacker, Refused)
	}
	if !locked {
		t.Error("not locked")
	}
}

// Where all counters are more than half-way to their limits, none gives its place up, and when their
// windows are over, all do.
func TestFullOfNearCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New(Limits{Counters: 64, Locks: 64})
		g := guard(t, table, policy(Rule{Refused, 3, time.Minute}))
		const near = 4000
		for i := range uint64(near) {
			times(g, host(i), Refused, 2)
		}
		before := table.Stats()
		if before.Uncounted == 0 || before.Counters > counterShards*smallestShard {
			t.Fatalf("%+v", before)
		}
		times(g, host(9999), Refused, 1)
		if after := table.Stats(); after.Displaced != before.Displaced {
			t.Errorf("%+v, before %+v", after, before)
		}
		time.Sleep(time.Minute)
		if times(g, host(9999), Refused, 3) != 1 {
			t.Error("not counted though all windows are over")
		}
		g.Sweep()
		if after := table.Stats(); after.Counters != 0 {
			t.Errorf("%+v after the sweep", after)
		}
	})
}

// While there is no room for a lock, the address stays at its limit and is locked as soon as there is.
// Nothing that is locked is released for it.
func TestFullOfLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New(Limits{Counters: 1 << 10, Locks: 50})
		p := policy(Rule{Refused, 2, time.Hour})
		p.Factor, p.Longest = 2, 24*time.Hour
		g := guard(t, table, p)
		for i := range uint64(50) {
			if times(g, host(i), Refused, 2) != 1 {
				t.Fatal("not locked")
			}
		}
		if times(g, attacker, Refused, 5) != 0 || g.Remaining(attacker) != 0 {
			t.Fatal("locked without room")
		}
		for i := range uint64(50) {
			if g.Remaining(host(i)) == 0 {
				t.Fatal("released for another")
			}
		}
		if stats := table.Stats(); stats.Unlocked == 0 || stats.Locked != 50 {
			t.Errorf("%+v", stats)
		}
		if _, err := g.Lock(neighbour, time.Hour, ""); err != nil {
			t.Errorf("by hand: %v", err)
		}
		// What is remembered of locks that ended makes room.
		time.Sleep(15 * time.Minute)
		if times(g, attacker, Refused, 1) != 1 {
			t.Error("not locked though there is room")
		}
		for i := range uint64(moreByHand + 60) {
			if _, err := g.Lock(host(1<<20+i), time.Hour, ""); err != nil {
				if !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				return
			}
		}
		t.Error("locks by hand have no bound")
	})
}

// The table of counters behaves like a map.
func TestCountersModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := []Rule{{}, {429, 1000, time.Hour}, {Refused, 1000, time.Hour}}
		c, model := newCounters(1<<14), make(map[counterKey]int)
		random := rand.New(rand.NewPCG(5, 6))
		for range 200_000 {
			addr := host(random.Uint64N(3000)).As16()
			key := counterKey{addr, uint16(1 + random.IntN(2))}
			switch random.IntN(100) {
			case 0:
				c.sweep(rules, 1)
			case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20:
				c.remove(key)
				delete(model, key)
			default:
				model[key]++
				if got := c.add(rules, key, 1); got != model[key] {
					t.Fatalf("%d, want %d", got, model[key])
				}
			}
		}
		found := 0
		c.each(rules, 1, func(x counter, total int) {
			found++
			if want := model[counterKey{x.addr, x.rule}]; total != want {
				t.Errorf("%d, want %d", total, want)
			}
		})
		if found != len(model) {
			t.Errorf("%d counters, want %d", found, len(model))
		}
	})
}

// A million addresses, and all locks that there can be, take less than 100 MB.
func TestMemoryOfAMillion(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	table := New(DefaultLimits)
	g := guard(t, table, policy(Rule{Refused, 1000, time.Hour}, Rule{429, 1, time.Hour}))
	for i := range uint64(1_000_000) {
		g.Count(host(i), Refused)
	}
	counted := heap() - before
	for i := range uint64(DefaultLimits.Locks) {
		g.Count(host(i), 429)
	}
	all := heap() - before
	stats := table.Stats()
	t.Logf("%d MB for %d counters, %d MB with %d locks", counted>>20, stats.Counters, all>>20, stats.Locked)
	if stats.Counters < 999_000 || stats.Locked < DefaultLimits.Locks || all > 100_000_000 {
		t.Errorf("%+v in %d bytes", stats, all)
	}
	runtime.KeepAlive(table)
}
