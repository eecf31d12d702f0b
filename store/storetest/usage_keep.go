package storetest

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

func (u *usageTest) purge() {
	began, err := u.Since(u.Context())
	if err != nil || !began.Equal(u.now) {
		u.Fatalf("since %s, %v", began, err)
	}
	const days = 500
	for i := range days {
		for hour := range 3 {
			at := u.now.Add(time.Duration(hour) * time.Hour)
			u.add(usage.Batch{Counters: []usage.Counter{u.counter(useKey(1), at, nil)}, Calls: []usage.Call{{Key: useKey(i % 100), Time: at}}})
		}
		if u.now = u.now.Add(oneDay); i%7 == 0 {
			if err := u.Purge(u.Context()); err != nil {
				u.Fatal(err)
			}
		}
	}
	if err := u.Purge(u.Context()); err != nil {
		u.Fatal(err)
	}
	since, err := u.Since(u.Context())
	want := u.now.Add(-400 * oneDay).Truncate(oneDay)
	if err != nil || !since.Equal(want) {
		u.Errorf("since %s, %v; want %s", since, err, want)
	}
	got := u.all(usage.Query{})
	total := uint64(0)
	for _, c := range got {
		total += c.Requests
		if c.Hour.Before(want) {
			u.Errorf("a counter of %s is kept", c.Hour)
		}
	}
	if total != 400*3*2 {
		u.Errorf("%d requests are kept; want %d", total, 400*3*2)
	}
	if len(got) > 420 {
		u.Errorf("%d counters for 400 days; those of old days should be one a day", len(got))
	}
	calls := 0
	for i := range 100 {
		list, _, err := u.Calls(u.Context(), usage.CallQuery{Key: useKey(i), Limit: 100})
		if err != nil {
			u.Fatal(err)
		}
		calls += len(list)
		for _, c := range list {
			if c.Time.Before(u.now.Add(-30 * oneDay)) {
				u.Errorf("a call of %s is kept", c.Time)
			}
		}
	}
	if calls == 0 || calls > 31*3 {
		u.Errorf("%d calls are kept", calls)
	}
}

func (u *usageTest) forget() {
	for _, key := range []string{useKey(1), useKey(2)} {
		u.add(usage.Batch{
			Counters: []usage.Counter{u.counter(key, u.now, nil), u.counter(key, u.now, func(c *usage.Counter) { c.Place = usage.PlaceOf(useAddr(77)) })},
			Calls:    []usage.Call{{Key: key, Time: u.now, Path: "/secret", UserAgent: "me", Addr: useAddr(77)}},
		})
	}
	if err := u.Forget(u.Context(), useKey(1)); err != nil {
		u.Fatal(err)
	}
	got := u.all(usage.Query{Key: useKey(1)})
	if len(got) != 1 || got[0].Place != usage.Other || got[0].Requests != 4 {
		u.Errorf("%+v", got)
	}
	uses, err := u.LastUses(u.Context(), []string{useKey(1)})
	if err != nil || len(uses[0]) != 1 || uses[0][0].Place != usage.Other || uses[0][0].Requests != 4 {
		u.Errorf("%+v, %v", uses, err)
	}
	for key, want := range map[string]int{useKey(1): 0, useKey(2): 1} {
		if calls, _, err := u.Calls(u.Context(), usage.CallQuery{Key: key, Limit: 10}); err != nil || len(calls) != want {
			u.Errorf("%s: %d calls, %v; want %d", key, len(calls), err, want)
		}
	}
	if got := u.all(usage.Query{Key: useKey(2)}); len(got) != 2 {
		u.Errorf("another key: %+v", got)
	}
}

func (u *usageTest) bounded() {
	const n = 30_000
	for chunk := range n / 5000 {
		var list []usage.Counter
		for i := range 5000 {
			list = append(list, u.counter(useKey(1), u.now, func(c *usage.Counter) {
				c.Place = usage.PlaceOf(netip.AddrFrom4([4]byte{10, byte(chunk), byte(i >> 8), byte(i)}))
			}))
		}
		u.addCounters(list...)
	}
	total, rows := uint64(0), 0
	for _, c := range u.all(usage.Query{}) {
		total, rows = total+c.Requests, rows+1
	}
	if total != 2*n || rows >= n {
		u.Errorf("%d requests in %d rows; want %d in fewer rows than places", total, rows, 2*n)
	}
}

func (u *usageTest) oddNames() {
	odd := usage.Route{Site: "ä b:\n", Rules: []string{strings.Repeat("r", 200), "", "x/y"}, Method: "other"}
	u.addCounters(
		u.counter(useKey(1), u.now, func(c *usage.Counter) { c.Route = odd }),
		u.counter(useKey(1), u.now, func(c *usage.Counter) { c.Route = usage.Route{Site: "api"} }),
		u.counter(useKey(1), u.now, func(c *usage.Counter) { c.Route = usage.Route{} }),
	)
	got := u.all(usage.Query{})
	if len(got) != 3 || !slices.ContainsFunc(got, func(c usage.Counter) bool { return reflect.DeepEqual(c.Route, odd) }) {
		u.Errorf("%+v", got)
	}
	if _, err := u.Add(context.Background(), usage.Batch{ID: [16]byte{1}, Counters: []usage.Counter{u.counter("no id", u.now, nil)}}); err == nil {
		u.Error("a key that is none is taken")
	}
	if got := u.all(usage.Query{}); len(got) != 3 {
		u.Errorf("a batch that failed left something: %+v", got)
	}
}
