package lockout

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	attacker  = netip.MustParseAddr("203.0.113.7")
	neighbour = netip.MustParseAddr("203.0.113.8")
)

// policy is the usual one, with a smaller limit.
func policy(rules ...Rule) Policy {
	if rules == nil {
		rules = []Rule{{429, 10, time.Minute}}
	}
	return Policy{Rules: rules, Lock: 15 * time.Minute, Bits4: 32, Bits6: 64}
}

func guard(t testing.TB, table *Table, p Policy) *Guard {
	t.Helper()
	g, err := table.Guard(p)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// times counts n outcomes and returns how many of them began a lock.
func times(g *Guard, addr netip.Addr, on Outcome, n int) (locks int) {
	for range n {
		if _, locked := g.Count(addr, on); locked {
			locks++
		}
	}
	return locks
}

// A thousand within a minute lock for fifteen minutes, to the nanosecond, and nobody else.
func TestThousandInAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, New(DefaultLimits), policy(Rule{429, 1000, time.Minute}))
		for i := range 999 {
			if times(g, attacker, 429, 1) != 0 || g.Remaining(attacker) != 0 {
				t.Fatalf("locked after %d", i+1)
			}
			time.Sleep(time.Minute / 1000)
		}
		lock, locked := g.Count(attacker, 429)
		if !locked || lock.Remaining != 15*time.Minute || lock.Times != 1 || lock.Prefix != netip.MustParsePrefix("203.0.113.7/32") || lock.Rule.Limit != 1000 {
			t.Fatalf("%v %+v", locked, lock)
		}
		if g.Remaining(neighbour) != 0 {
			t.Error("the neighbour is locked")
		}
		time.Sleep(15*time.Minute - 1)
		if got := g.Remaining(attacker); got != 1 {
			t.Errorf("%v remain, want 1ns", got)
		}
		time.Sleep(time.Nanosecond)
		if got := g.Remaining(attacker); got > 0 {
			t.Errorf("still locked for %v", got)
		}
	})
}

// What comes in during the lock does not count, and afterwards counting begins anew.
func TestLockedOutcomesDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, New(DefaultLimits), policy())
		if times(g, attacker, 429, 10) != 1 {
			t.Fatal("not locked")
		}
		for range 15 * 60 {
			if times(g, attacker, 429, 20) != 0 {
				t.Fatal("locked again while locked")
			}
			time.Sleep(time.Second)
		}
		if g.Remaining(attacker) > 0 {
			t.Fatal("the lock was prolonged")
		}
		if times(g, attacker, 429, 9) != 0 {
			t.Error("outcomes from before the end count")
		}
		if times(g, attacker, 429, 1) != 1 {
			t.Error("the tenth does not lock")
		}
	})
}

// Outcomes and rules count apart, and two windows of one outcome do, too.
func TestRulesCountApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, New(DefaultLimits), policy(Rule{429, 10, time.Minute}, Rule{Refused, 3, time.Minute}, Rule{Refused, 6, time.Hour}))
		if times(g, attacker, 429, 9)+times(g, attacker, Refused, 2)+times(g, attacker, 401, 100) != 0 {
			t.Fatal("locked")
		}
		time.Sleep(2 * time.Minute)
		if times(g, attacker, Refused, 2) != 0 {
			t.Fatal("the short window did not move on")
		}
		time.Sleep(2 * time.Minute)
		if times(g, attacker, Refused, 2) != 1 {
			t.Error("the long window did not count six")
		}
	})
}

// Whatever the times of the outcomes, an address is not locked with fewer than the limit in a window, and
// is locked with the limit in five sixths of it.
func TestWindowBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window, limit = 6 * time.Second, 12
		random := rand.New(rand.NewPCG(1, 2))
		locks := 0
		for run := range 400 {
			g := guard(t, New(Limits{64, 64}), policy(Rule{429, limit, window}))
			var at []time.Time
			for range 200 {
				pause := time.Duration(random.ExpFloat64() * float64(window) / (limit * (0.2 + random.Float64())))
				time.Sleep(pause)
				at = append(at, time.Now())
				within := func(d time.Duration) (n int) {
					for _, when := range at {
						if time.Since(when) < d {
							n++
						}
					}
					return n
				}
				_, locked := g.Count(attacker, 429)
				if locked && within(window) < limit {
					t.Fatalf("run %d: locked with %d in the window", run, within(window))
				}
				if !locked && within(window*5/6) >= limit {
					t.Fatalf("run %d: not locked with %d in five sixths of the window", run, within(window*5/6))
				}
				if locked {
					locks++
					break
				}
			}
		}
		if locks < 20 || locks == 400 {
			t.Errorf("%d of 400 runs ended with a lock: not much was tested", locks)
		}
	})
}

func TestGrowth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(Rule{Refused, 2, time.Minute})
		p.Factor, p.Longest = 2, 2*time.Hour
		g := guard(t, New(DefaultLimits), p)
		again := func(want time.Duration, n int) {
			t.Helper()
			g.Count(attacker, Refused)
			lock, locked := g.Count(attacker, Refused)
			if !locked || lock.Remaining != want || lock.Times != n {
				t.Fatalf("locked %v for %v, the %dth time; want %v, %d", locked, lock.Remaining, lock.Times, want, n)
			}
			time.Sleep(lock.Remaining)
		}
		again(15*time.Minute, 1)
		again(30*time.Minute, 2)
		time.Sleep(2*time.Hour - time.Second)
		g.Sweep()
		again(time.Hour, 3)
		again(2*time.Hour, 4)
		again(2*time.Hour, 5)
		time.Sleep(2*time.Hour + time.Second)
		again(15*time.Minute, 1)
		if p = policy(); g.policy.duration(1) != p.Lock || p.duration(40) != p.Lock {
			t.Error("locks grow without growth")
		}
	})
}

// Addresses of one prefix share a count and a lock; both stay when the policy has another prefix.
func TestPrefixes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New(DefaultLimits)
		g := guard(t, table, policy())
		inside := func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:0:1::%x", i+1)) }
		for i := range 10 {
			g.Count(inside(i), 429)
		}
		outside := netip.MustParseAddr("2001:db8:0:2::1")
		if g.Remaining(inside(65000)) == 0 || g.Remaining(outside) != 0 {
			t.Error("not the /64 is locked")
		}
		p := policy()
		p.Bits6 = 48
		wide := guard(t, table, p)
		if wide.Remaining(inside(1)) == 0 {
			t.Error("the lock is gone with the policy")
		}
		if times(wide, outside, 429, 10) != 1 || table.Remaining(netip.MustParseAddr("2001:db8:0:ffff::1")) == 0 {
			t.Error("the /48 is not locked")
		}
		if released := table.Release(inside(1)); len(released) != 2 || table.Remaining(inside(1)) > 0 {
			t.Errorf("released %v", released)
		}
		// An IPv4-embedding IPv6 address is not the IPv4 address.
		times(g, attacker, 429, 10)
		if table.Remaining(netip.MustParseAddr("64:ff9b::203.0.113.7")) != 0 || table.Remaining(attacker) == 0 {
			t.Error("families are mixed up")
		}
	})
}

func TestByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, New(DefaultLimits), policy())
		times(g, attacker, 429, 10)
		lock, err := g.Lock(attacker, time.Minute, "scanner")
		if err != nil || lock.Remaining != time.Minute || lock.Rule != (Rule{}) {
			t.Fatal(lock, err)
		}
		if list, _ := g.List(netip.Prefix{}, 10); len(list) != 1 || list[0].Reason != "scanner" || list[0].Remaining != time.Minute {
			t.Errorf("%+v", list)
		}
		times(g, attacker, 429, 100)
		time.Sleep(time.Minute)
		if g.Remaining(attacker) > 0 {
			t.Error("the lock by hand did not replace the other, or was prolonged")
		}
		times(g, neighbour, 429, 9)
		if g.Release(neighbour) != nil {
			t.Error("released what was not locked")
		}
		times(g, neighbour, 429, 1)
		if g.Remaining(neighbour) == 0 || len(g.Release(neighbour)) != 1 || g.Remaining(neighbour) != 0 {
			t.Error("not released")
		}
		if times(g, neighbour, 429, 9) != 0 {
			t.Error("a released address goes on where it was")
		}
		if _, err := g.Lock(attacker, time.Minute, string(make([]byte, MaxReason+1))); !errors.Is(err, ErrReason) {
			t.Error(err)
		}
	})
}

// A thousand outcomes at the same time lock once, at the limit.
func TestParallel(t *testing.T) {
	g := guard(t, New(DefaultLimits), policy(Rule{429, 1000, time.Minute}))
	var mu sync.Mutex
	var wg sync.WaitGroup
	locks := 0
	for range 10 {
		wg.Go(func() {
			n := times(g, attacker, 429, 100)
			mu.Lock()
			locks += n
			mu.Unlock()
		})
	}
	wg.Wait()
	if locks != 1 {
		t.Errorf("%d locks", locks)
	}
	if table := New(DefaultLimits); times(guard(t, table, policy(Rule{429, 1000, time.Minute})), attacker, 429, 999) != 0 {
		t.Error("999 lock")
	}
}

func TestPages(t *testing.T) {
	g := guard(t, New(DefaultLimits), policy())
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		addr := netip.AddrFrom4([4]byte{10, byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
		if _, err := g.Lock(addr, time.Hour, ""); err != nil {
			t.Fatal(err)
		}
	}
	var all []netip.Prefix
	after := netip.Prefix{}
	for more := true; more; {
		var list []Lock
		list, more = g.List(after, 7)
		for _, l := range list {
			if after.IsValid() && l.Prefix.Compare(after) <= 0 {
				t.Fatalf("%v behind %v", l.Prefix, after)
			}
			after = l.Prefix
			all = append(all, l.Prefix)
		}
	}
	if want := g.Stats().Locked; len(all) != want || want < 290 {
		t.Errorf("%d listed, %d locked", len(all), want)
	}
}

func TestPolicyIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Policy){
		"no rules":        func(p *Policy) { p.Rules = nil },
		"status":          func(p *Policy) { p.Rules[0].On = 200 },
		"limit 0":         func(p *Policy) { p.Rules[0].Limit = 0 },
		"limit too large": func(p *Policy) { p.Rules[0].Limit = MaxLimit + 1 },
		"window":          func(p *Policy) { p.Rules[0].Window = time.Millisecond },
		"twice":           func(p *Policy) { p.Rules = append(p.Rules, p.Rules[0]) },
		"lock":            func(p *Policy) { p.Lock = 0 },
		"factor":          func(p *Policy) { p.Factor = 1 },
		"longest":         func(p *Policy) { p.Factor, p.Longest = 2, p.Lock },
		"bits":            func(p *Policy) { p.Bits4 = 0 },
		"bits of IPv6":    func(p *Policy) { p.Bits6 = 129 },
	} {
		p := policy(Rule{429, 10, time.Minute})
		change(&p)
		if _, err := New(Limits{1, 1}).Guard(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
