package storetest

import (
	"fmt"
	"reflect"
	"time"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

func (u *usageTest) calls() {
	call := func(key string, i int) usage.Call {
		return usage.Call{
			Key: key, Credential: 1, Time: u.now.Add(time.Duration(i) * time.Second), Method: "GET", Path: fmt.Sprintf("/%d", i),
			Route: usage.Route{Site: "api", Rules: []string{"a", "b"}, Method: "GET"}, Status: 200 + i, Addr: useAddr(i % 2), UserAgent: "curl/8",
			Bytes: uint64(i), Duration: time.Duration(i) * time.Millisecond, RequestID: "0000000000abc",
		}
	}
	same := call(useKey(1), 3) // at the same moment as another one
	same.Credential = 2
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
		"a credential": {usage.CallQuery{Credential: 2}, 1},
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
