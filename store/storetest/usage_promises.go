package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

func (u *usageTest) order() {
	for _, n := range []int{3, 1, 2, 1} {
		for _, ago := range []time.Duration{0, 2 * oneDay, oneDay} {
			u.addCounters(u.counter(useKey(n), u.now.Add(-ago), nil))
		}
	}
	var got []string
	for _, c := range u.all(usage.Query{}) {
		got = append(got, c.Hour.Format("02 ")+c.Key)
	}
	if len(got) != 9 || !slices.IsSorted(got) {
		u.Errorf("%q", got)
	}
}

func (u *usageTest) reentrant() {
	for n := range 10 {
		u.addCounters(u.counter(useKey(n), u.now, nil))
	}
	within(u.T, "the walk", func() {
		err := u.Counters(u.Context(), usage.Query{}, func(c *usage.Counter) bool {
			u.addCounters(u.counter(c.Key, u.now.Add(-time.Hour), nil))
			if _, err := u.LastUses(u.Context(), []string{c.Key}); err != nil {
				u.Error(err)
			}
			if err := u.Purge(u.Context()); err != nil {
				u.Error(err)
			}
			return true
		})
		if err != nil {
			u.Error(err)
		}
	})
}

func (u *usageTest) callsOf(key string) (paths []string) {
	u.Helper()
	calls, _, err := u.Calls(u.Context(), usage.CallQuery{Key: key, Limit: 1000})
	if err != nil {
		u.Fatal(err)
	}
	for _, c := range calls {
		paths = append(paths, c.Path)
	}
	return paths
}

func (u *usageTest) call(key string, second int) usage.Call {
	return usage.Call{Key: key, Time: u.now.Add(time.Duration(second) * time.Second), Path: fmt.Sprintf("/%d", second)}
}

// firstCalls are more than are kept, of a key that had none.
func (u *usageTest) firstCalls() {
	var calls []usage.Call
	for i := range 8 {
		calls = append(calls, u.call(useKey(1), i))
	}
	u.add(usage.Batch{Calls: calls})
	if got, want := u.callsOf(useKey(1)), []string{"/7", "/6", "/5", "/4", "/3"}; !slices.Equal(got, want) {
		u.Errorf("%q; want %q", got, want)
	}
}

func (u *usageTest) callsMeanwhile() {
	u.add(usage.Batch{Calls: []usage.Call{u.call(useKey(1), 1), u.call(useKey(1), 2), u.call(useKey(1), 3)}})
	first, next, err := u.Calls(u.Context(), usage.CallQuery{Key: useKey(1), Limit: 2})
	if err != nil || len(first) != 2 || next == "" {
		u.Fatalf("%+v, %q, %v", first, next, err)
	}
	u.add(usage.Batch{Calls: []usage.Call{u.call(useKey(1), 4)}})
	second, end, err := u.Calls(u.Context(), usage.CallQuery{Key: useKey(1), Limit: 2, Before: next})
	if err != nil || len(second) != 1 || second[0].Path != "/1" || end != "" {
		u.Errorf("%+v, %q, %v", second, end, err)
	}
	for _, cursor := range []string{"x", "0123456789ab", next + next} {
		if got, _, err := u.Calls(u.Context(), usage.CallQuery{Key: useKey(2), Limit: 2, Before: cursor}); err == nil && len(got) > 0 {
			u.Errorf("%d calls of another key by a cursor that is none", len(got))
		}
	}
}

// futureCalls came while the clock was wrong: purging ends nevertheless.
func (u *usageTest) futureCalls() {
	u.add(usage.Batch{Calls: []usage.Call{u.call(useKey(1), 1_000_000)}})
	within(u.T, "Purge", func() {
		if err := u.Purge(u.Context()); err != nil {
			u.Error(err)
		}
	})
	if got := u.callsOf(useKey(1)); len(got) != 1 {
		u.Errorf("%q", got)
	}
}

func (u *usageTest) allOrNothing() {
	bad := usage.Batch{
		ID:       [16]byte{9},
		Counters: []usage.Counter{u.counter(useKey(1), u.now, nil)},
		Scopes:   []usage.ScopeUse{{Key: useKey(1), Scope: "a:b", Last: u.now}},
		Calls:    []usage.Call{u.call(useKey(1), 1), u.call("no id", 1)},
	}
	var wait sync.WaitGroup
	for n := range 20 { // some of these share its transaction
		wait.Go(func() {
			u.addCounters(u.counter(useKey(2), u.now.Add(time.Duration(n)*time.Millisecond), nil))
		})
		wait.Go(func() {
			if _, err := u.Add(u.Context(), bad); err == nil {
				u.Error("taken")
			}
		})
	}
	wait.Wait()
	if got := u.all(usage.Query{}); len(got) != 1 || got[0].Key != useKey(2) || got[0].Requests != 40 {
		u.Errorf("%+v", got)
	}
	uses, err := u.LastUses(u.Context(), []string{useKey(1)})
	scopes, err2 := u.Scopes(u.Context(), useKey(1))
	if err != nil || err2 != nil || uses[0] != nil || len(scopes) > 0 || len(u.callsOf(useKey(1))) > 0 {
		u.Errorf("left behind: %+v %+v, %v %v", uses, scopes, err, err2)
	}
	bad.Calls = bad.Calls[:1]
	if _, err := u.Add(u.Context(), bad); err != nil {
		u.Errorf("the ID of a batch that failed is spent: %v", err)
	}
	if got := u.all(usage.Query{Key: useKey(1)}); len(got) != 1 {
		u.Errorf("%+v", got)
	}
}

// otherBatch has the content of the one before, and is another one.
func (u *usageTest) otherBatch() {
	c := u.counter(useKey(1), u.now, nil)
	for range 3 {
		u.addCounters(c)
	}
	if got := u.all(usage.Query{}); len(got) != 1 || got[0].Requests != 6 {
		u.Errorf("%+v", got)
	}
}

func (u *usageTest) manyAtOnce() {
	const writers, each = 16, 10
	var wait sync.WaitGroup
	for n := range writers {
		wait.Go(func() {
			for i := range each {
				u.add(usage.Batch{
					Counters: []usage.Counter{u.counter(useKey(i), u.now, nil), u.counter(useKey(100+n), u.now, nil)},
					Calls:    []usage.Call{u.call(useKey(200), n*each+i)},
				})
				u.all(usage.Query{})
			}
		})
	}
	wait.Wait()
	total := uint64(0)
	for _, c := range u.all(usage.Query{}) {
		total += c.Requests
	}
	if total != 2*2*writers*each {
		u.Errorf("%d requests", total)
	}
	if got := u.callsOf(useKey(200)); len(got) != 5 {
		u.Errorf("%d calls", len(got))
	}
}

// walkDuringPurge counts nothing twice and misses nothing while hours are added
// up.
func (u *usageTest) walkDuringPurge() {
	const places = 6000
	old := u.now.Add(-20 * oneDay)
	for hour := range 3 {
		var list []usage.Counter
		for n := range places {
			list = append(list, u.counter(useKey(1), old.Add(time.Duration(hour)*time.Hour), func(c *usage.Counter) {
				c.Place = usage.PlaceOf(useAddr(n))
			}))
		}
		u.addCounters(list...)
	}
	for range 2 { // purged in the middle of a walk, then afterwards
		n, total := 0, uint64(0)
		err := u.Counters(u.Context(), usage.Query{Key: useKey(1)}, func(c *usage.Counter) bool {
			if total += c.Requests; n == 0 {
				if err := u.Purge(u.Context()); err != nil {
					u.Error(err)
				}
			}
			n++
			return true
		})
		if err != nil || total != 3*2*places {
			u.Errorf("%d requests in %d counters, %v; want %d", total, n, err, 3*2*places)
		}
	}
	if err := u.Purge(u.Context()); err != nil {
		u.Fatal(err)
	}
	if got := u.all(usage.Query{}); len(got) != places {
		u.Errorf("%d counters of an old day; want %d", len(got), places)
	}
}

func (u *usageTest) placesBounded() {
	news := 0
	for chunk := range 10 {
		var list []usage.Counter
		for n := range 1000 {
			list = append(list, u.counter(useKey(1), u.now, func(c *usage.Counter) {
				c.Place = usage.PlaceOf(netip.AddrFrom4([4]byte{10, byte(chunk), byte(n >> 8), byte(n)}))
			}))
		}
		news += len(u.addCounters(list...).NewPlaces)
	}
	if news < 1000 || news >= 10_000 {
		u.Errorf("%d new places; want a bounded number", news)
	}
}

func (u *usageTest) inputNotKept() {
	rules := []string{"read"}
	b := usage.Batch{Counters: []usage.Counter{u.counter(useKey(1), u.now, func(c *usage.Counter) { c.Route.Rules = rules })}}
	u.add(b)
	rules[0], b.Counters[0].Key, b.Counters[0].Requests = "write", useKey(7), 99
	if got := u.all(usage.Query{}); len(got) != 1 || got[0].Key != useKey(1) || got[0].Requests != 2 || got[0].Route.Rules[0] != "read" {
		u.Errorf("%+v", got)
	}
}

func (u *usageTest) cancelled() {
	for n := range 10 {
		u.addCounters(u.counter(useKey(n), u.now.Add(-time.Duration(n)*oneDay), nil))
	}
	ctx, cancel := context.WithCancel(u.Context())
	n := 0
	err := u.Counters(ctx, usage.Query{}, func(*usage.Counter) bool { n++; cancel(); return true })
	if !errors.Is(err, context.Canceled) || n > 1 {
		u.Errorf("%d counters after it was cancelled, %v", n, err)
	}
	if _, err := u.Add(ctx, usage.Batch{ID: [16]byte{3}, Counters: []usage.Counter{u.counter(useKey(50), u.now, nil)}}); !errors.Is(err, context.Canceled) {
		u.Errorf("Add: %v", err)
	}
	if got := u.all(usage.Query{Key: useKey(50)}); len(got) != 0 {
		u.Errorf("%+v", got)
	}
}

func (u *usageTest) closedUsage() {
	u.addCounters(u.counter(useKey(1), u.now, nil))
	for range 2 {
		within(u.T, "Close", func() {
			if err := u.Close(); err != nil {
				u.Error(err)
			}
		})
	}
	_, add := u.Add(u.Context(), usage.Batch{ID: [16]byte{4}})
	_, uses := u.LastUses(u.Context(), []string{useKey(1)})
	_, scopes := u.Scopes(u.Context(), useKey(1))
	_, _, calls := u.Calls(u.Context(), usage.CallQuery{Key: useKey(1), Limit: 1})
	_, since := u.Since(u.Context())
	_, gaps := u.Gaps(u.Context(), usage.Span{})
	for what, err := range map[string]error{
		"Add": add, "LastUses": uses, "Scopes": scopes, "Calls": calls, "Since": since, "Gaps": gaps,
		"Counters": u.Counters(u.Context(), usage.Query{}, func(*usage.Counter) bool { return true }),
		"Purge":    u.Purge(u.Context()),
		"Forget":   u.Forget(u.Context(), useKey(1)),
	} {
		if !errors.Is(err, keyring.ErrClosed) {
			u.Errorf("%s: %v", what, err)
		}
	}
}
