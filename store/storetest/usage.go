package storetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

// OpenUsage opens an empty usage.Store whose clock is now and which keeps keep.
type OpenUsage func(t *testing.T, keep usage.Keep, now func() time.Time) usage.Store

// RunUsage checks what usage.Store promises.
func RunUsage(t *testing.T, open OpenUsage) {
	for _, c := range []struct {
		name string
		run  func(*usageTest)
	}{
		{"Counters", (*usageTest).counters},
		{"BatchTwice", (*usageTest).batchTwice},
		{"Spans", (*usageTest).spans},
		{"LastUses", (*usageTest).lastUses},
		{"NewPlaces", (*usageTest).newPlaces},
		{"Scopes", (*usageTest).scopes},
		{"Calls", (*usageTest).calls},
		{"Gaps", (*usageTest).gaps},
		{"Purge", (*usageTest).purge},
		{"Forget", (*usageTest).forget},
		{"PlacesOfADayAreBounded", (*usageTest).bounded},
		{"OddNames", (*usageTest).oddNames},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := &usageTest{T: t, now: time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)}
			u.Store = open(t, usage.Keep{Usage: 400 * oneDay, Calls: 30 * oneDay, Last: 5}, func() time.Time { return u.now })
			c.run(u)
		})
	}
}

const oneDay = 24 * time.Hour

type usageTest struct {
	*testing.T
	usage.Store
	now time.Time
}

func useKey(n int) string { return fmt.Sprintf("key_%020d", n) }

func useAddr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)})
}

func (u *usageTest) counter(key string, at time.Time, change func(*usage.Counter)) usage.Counter {
	c := usage.Counter{
		Event: usage.Event{
			Key: key, Credential: 1, Place: usage.PlaceOf(useAddr(1)),
			Route: usage.Route{Site: "api", Rules: []string{"read"}, Method: "GET"},
		},
		Hour: at.Truncate(time.Hour), Requests: 2, Statuses: [6]uint64{0, 0, 2}, Bytes: 30, First: at, Last: at.Add(time.Second),
	}
	if change != nil {
		change(&c)
	}
	return c
}

func (u *usageTest) add(b usage.Batch) usage.Added {
	u.Helper()
	_, _ = rand.Read(b.ID[:])
	added, err := u.Add(u.Context(), b)
	if err != nil {
		u.Fatal(err)
	}
	return added
}

func (u *usageTest) addCounters(c ...usage.Counter) usage.Added {
	u.Helper()
	return u.add(usage.Batch{Counters: c})
}

func (u *usageTest) all(q usage.Query) (list []usage.Counter) {
	u.Helper()
	err := u.Counters(u.Context(), q, func(c *usage.Counter) bool {
		list = append(list, *c)
		return true
	})
	if err != nil {
		u.Fatal(err)
	}
	return list
}

func (u *usageTest) counters() {
	one := u.counter(useKey(1), u.now, nil)
	refused := u.counter(useKey(1), u.now, func(c *usage.Counter) { c.Reason, c.Statuses = "missing_scope", [6]uint64{4: 2} })
	observed := u.counter(useKey(1), u.now, func(c *usage.Counter) { c.Reason, c.Observed = "missing_scope", true })
	other := u.counter(useKey(2), u.now, func(c *usage.Counter) { c.Place = usage.PlaceOf(netip.MustParseAddr("2001:db8::1")) })
	stranger := u.counter("", u.now, func(c *usage.Counter) { c.Credential, c.Reason, c.Place = 0, "invalid_key", usage.Place{} })
	u.addCounters(one, refused, observed, other, stranger)
	later := u.counter(useKey(1), u.now.Add(10*time.Minute), nil)
	answer := u.counter(useKey(1), u.now, func(c *usage.Counter) {
		c.Requests, c.Statuses, c.Bytes, c.First, c.Last = 0, [6]uint64{2: 1}, 5, time.Time{}, time.Time{}
	})
	u.addCounters(later, answer)
	got := u.all(usage.Query{Key: useKey(1)})
	if len(got) != 3 {
		u.Fatalf("%d counters; want 3: %+v", len(got), got)
	}
	sum := one
	sum.Requests, sum.Statuses, sum.Bytes, sum.Last = 4, [6]uint64{0, 0, 5}, 65, later.Last
	for _, want := range []usage.Counter{sum, refused, observed} {
		if !slices.ContainsFunc(got, func(c usage.Counter) bool { return reflect.DeepEqual(c, want) }) {
			u.Errorf("%+v is missing in %+v", want, got)
		}
	}
	if got := u.all(usage.Query{}); len(got) != 5 {
		u.Errorf("%d counters in all; want 5", len(got))
	}
	place := usage.PlaceOf(netip.MustParseAddr("2001:db8::9"))
	if got := u.all(usage.Query{Place: &place}); len(got) != 1 || !reflect.DeepEqual(got[0], other) {
		u.Errorf("of the place: %+v", got)
	}
	place = usage.Place{}
	if got := u.all(usage.Query{Place: &place}); len(got) != 1 || !reflect.DeepEqual(got[0], stranger) {
		u.Errorf("of an unknown place: %+v", got)
	}
	n := 0
	if err := u.Counters(u.Context(), usage.Query{}, func(*usage.Counter) bool { n++; return false }); err != nil || n != 1 {
		u.Errorf("a walk that was ended went on to %d, %v", n, err)
	}
}

func (u *usageTest) batchTwice() {
	b := usage.Batch{ID: [16]byte{7}, Counters: []usage.Counter{u.counter(useKey(1), u.now, nil)}, Calls: []usage.Call{{Key: useKey(1), Time: u.now}}}
	for range 3 {
		if _, err := u.Add(u.Context(), b); err != nil {
			u.Fatal(err)
		}
	}
	if got := u.all(usage.Query{}); len(got) != 1 || got[0].Requests != 2 {
		u.Errorf("%+v", got)
	}
	if calls, _, err := u.Calls(u.Context(), usage.CallQuery{Key: useKey(1), Limit: 10}); err != nil || len(calls) != 1 {
		u.Errorf("%d calls, %v", len(calls), err)
	}
}

func (u *usageTest) spans() {
	for i := range 5 {
		u.addCounters(u.counter(useKey(1), u.now.Add(-time.Duration(i)*12*time.Hour), nil))
	}
	for _, c := range []struct {
		since, until time.Duration
		want         int
	}{{-72 * time.Hour, 0, 5}, {-13 * time.Hour, 0, 2}, {-13 * time.Hour, -10 * time.Hour, 1}, {0, time.Hour, 1}, {time.Hour, 2 * time.Hour, 0}} {
		q := usage.Query{Span: usage.Span{Since: u.now.Add(c.since)}}
		if c.until != 0 {
			q.Until = u.now.Add(c.until)
		}
		if got := u.all(q); len(got) != c.want {
			u.Errorf("from %s to %s: %d; want %d", c.since, c.until, len(got), c.want)
		}
	}
}

func (u *usageTest) lastUses() {
	elsewhere := usage.PlaceOf(useAddr(9))
	u.addCounters(
		u.counter(useKey(1), u.now, nil),
		u.counter(useKey(1), u.now.Add(time.Minute), func(c *usage.Counter) { c.Place = elsewhere }),
		u.counter(useKey(1), u.now.Add(time.Hour), func(c *usage.Counter) { c.Reason = "expired_key" }),
		u.counter(useKey(1), u.now, func(c *usage.Counter) { c.Credential = 2 }),
	)
	u.addCounters(u.counter(useKey(1), u.now.Add(-time.Hour), nil))
	uses, err := u.LastUses(u.Context(), []string{useKey(3), useKey(1)})
	if err != nil {
		u.Fatal(err)
	}
	want := [][]usage.LastUse{nil, {
		{Credential: 1, First: u.now.Add(-time.Hour), Last: u.now.Add(61 * time.Second), Place: elsewhere, Requests: 6, Refused: 2},
		{Credential: 2, First: u.now, Last: u.now.Add(time.Second), Place: usage.PlaceOf(useAddr(1)), Requests: 2},
	}}
	if !reflect.DeepEqual(uses, want) {
		u.Errorf("%+v\nwant %+v", uses, want)
	}
}

func (u *usageTest) newPlaces() {
	at := func(n int, change func(*usage.Counter)) usage.Counter {
		return u.counter(useKey(1), u.now, func(c *usage.Counter) {
			c.Place = usage.PlaceOf(useAddr(n))
			if change != nil {
				change(c)
			}
		})
	}
	if added := u.addCounters(at(1, nil)); len(added.NewPlaces) != 1 || !added.NewPlaces[0].First {
		u.Errorf("the first place: %+v", added)
	}
	if added := u.addCounters(at(1, nil), at(1, func(c *usage.Counter) { c.Credential = 2 })); len(added.NewPlaces) != 0 {
		u.Errorf("a place that is known: %+v", added)
	}
	if added := u.addCounters(at(2, func(c *usage.Counter) { c.Reason = "insufficient_scope" })); len(added.NewPlaces) != 0 {
		u.Errorf("a place where it was refused: %+v", added)
	}
	added := u.addCounters(at(2, nil), at(1, nil))
	want := []usage.NewPlace{{Key: useKey(1), Credential: 1, Place: usage.PlaceOf(useAddr(2)), Time: u.now}}
	if !reflect.DeepEqual(added.NewPlaces, want) {
		u.Errorf("a second place: %+v", added)
	}
	if added := u.addCounters(u.counter(useKey(1), u.now, func(c *usage.Counter) { c.Place = usage.Other })); len(added.NewPlaces) != 0 {
		u.Errorf("no definite place: %+v", added)
	}
}

func (u *usageTest) scopes() {
	var many []usage.ScopeUse
	for i := range 1000 {
		many = append(many, usage.ScopeUse{Key: useKey(1), Scope: fmt.Sprintf("brands/%04d:use", i), Last: u.now})
	}
	u.add(usage.Batch{Scopes: append(many, usage.ScopeUse{Key: useKey(2), Scope: "a:b", Last: u.now.Add(-3 * time.Hour)})})
	u.add(usage.Batch{Scopes: []usage.ScopeUse{{Key: useKey(2), Scope: "a:b", Last: u.now}}})
	got, err := u.Scopes(u.Context(), useKey(1))
	if err != nil || len(got) < 100 || len(got) >= 1000 || !slices.ContainsFunc(got, func(s usage.ScopeUse) bool { return s.Scope == "" }) {
		u.Errorf("%d scopes, %v; want a bounded number, and one that says so", len(got), err)
	}
	got, err = u.Scopes(u.Context(), useKey(2))
	if err != nil || len(got) != 1 || got[0].Scope != "a:b" || got[0].Last.Before(u.now) {
		u.Errorf("%+v, %v", got, err)
	}
}

func (u *usageTest) calls() {
	call := func(key string, i int) usage.Call {
		return usage.Call{
			Key: key, Credential: 1, Time: u.now.Add(time.Duration(i) * time.Second), Method: "GET", Path: fmt.Sprintf("/%d", i),
			Route: usage.Route{Site: "api", Rules: []string{"a", "b"}, Method: "GET"}, Status: 200 + i, Addr: useAddr(i % 2), UserAgent: "curl/8",
			Bytes: uint64(i), Duration: time.Duration(i) * time.Millisecond, RequestID: "0000000000abc",
		}
	}
	same := call(useKey(1), 3) // at the same moment as another one
	same.Reason, same.Observed, same.Status = "no_rule", true, 500
	u.add(usage.Batch{Calls: []usage.Call{call(useKey(1), 1), call(useKey(1), 2), call(useKey(1), 3), same, call(useKey(2), 1)}})
	u.add(usage.Batch{Calls: []usage.Call{call(useKey(1), 4), call(useKey(1), 5)}})
	get := func(q usage.CallQuery) (list []usage.Call) {
		u.Helper()
		if q.Key == "" {
			q.Key = useKey(1)
		}
		if q.Limit == 0 {
			q.Limit = 2
		}
		for {
			page, next, err := u.Calls(u.Context(), q)
			if err != nil || len(page) > q.Limit {
				u.Fatalf("%d calls, %v", len(page), err)
			}
			list = append(list, page...)
			if next == "" {
				return list
			}
			q.Before = next
		}
	}
	got := get(usage.CallQuery{})
	var want []usage.Call
	for _, i := range []int{5, 4} {
		want = append(want, call(useKey(1), i))
	}
	want = append(want, same, call(useKey(1), 3), call(useKey(1), 2)) // five are kept
	if !reflect.DeepEqual(got, want) {
		u.Errorf("%+v\nwant %+v", got, want)
	}
	addr := usage.PlaceOf(useAddr(0))
	for what, c := range map[string]struct {
		q    usage.CallQuery
		want int
	}{
		"one status":   {usage.CallQuery{Status: 204}, 1},
		"a class":      {usage.CallQuery{Status: 5}, 1},
		"a place":      {usage.CallQuery{Place: &addr}, 2},
		"since":        {usage.CallQuery{Since: u.now.Add(4 * time.Second)}, 2},
		"another key":  {usage.CallQuery{Key: useKey(2)}, 1},
		"an unused id": {usage.CallQuery{Key: useKey(3)}, 0},
	} {
		if got := get(c.q); len(got) != c.want {
			u.Errorf("%s: %d; want %d", what, len(got), c.want)
		}
	}
}

func (u *usageTest) gaps() {
	crash := usage.Gap{From: u.now, Until: u.now.Add(time.Second), Why: usage.GapCrash}
	u.add(usage.Batch{Gaps: []usage.Gap{crash}})
	for i := range 5 {
		from := u.now.Add(time.Hour + time.Duration(i)*time.Second)
		u.add(usage.Batch{Gaps: []usage.Gap{{From: from, Until: from.Add(time.Second), Why: usage.GapOverflow}}})
	}
	joined := usage.Gap{From: u.now.Add(time.Hour), Until: u.now.Add(time.Hour + 5*time.Second), Why: usage.GapOverflow}
	for what, c := range map[string]struct {
		span usage.Span
		want []usage.Gap
	}{
		"all":    {usage.Span{}, []usage.Gap{crash, joined}},
		"before": {usage.Span{Until: u.now.Add(-time.Second)}, nil},
		"first":  {usage.Span{Until: u.now.Add(time.Minute)}, []usage.Gap{crash}},
		"last":   {usage.Span{Since: u.now.Add(time.Minute)}, []usage.Gap{joined}},
	} {
		if got, err := u.Gaps(u.Context(), c.span); err != nil || !reflect.DeepEqual(got, c.want) {
			u.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

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
