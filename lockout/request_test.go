package lockout

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A thousand requests within a minute are allowed, however often; one more locks.
func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, New(DefaultLimits), policy(Rule{Request, 1000, time.Minute}))
		for range 3 {
			if times(g, attacker, Request, 1000) != 0 {
				t.Fatal("locked by as many as are allowed")
			}
			time.Sleep(time.Minute)
		}
		times(g, attacker, Request, 1000)
		lock, locked := g.Count(attacker, Request)
		if !locked || lock.Remaining != 15*time.Minute || lock.Rule.String() != "request 1000 in 1m0s" {
			t.Fatalf("%v %+v", locked, lock)
		}
		if times(g, neighbour, Request, 1000) != 0 || g.Remaining(neighbour) != 0 {
			t.Error("the neighbour is locked")
		}
		if times(g, attacker, 429, 2000) != 0 {
			t.Error("another outcome counts")
		}
	})
}

// Of requests that come at once as many are let pass as are allowed: each that
// finds no lock after it was counted.
func TestRequestsAtOnce(t *testing.T) {
	const limit, callers, each = 500, 8, 200
	g := guard(t, New(DefaultLimits), policy(Rule{Request, limit, time.Minute}))
	var passed, locks atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if _, locked := g.Count(attacker, Request); locked {
					locks.Add(1)
				}
				if g.Remaining(attacker) == 0 {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() > limit || locks.Load() != 1 {
		t.Errorf("%d of %d passed, %d locks", passed.Load(), callers*each, locks.Load())
	}
}

func TestRequestLimits(t *testing.T) {
	for limit, ok := range map[int]bool{1: true, MaxLimit - 1: true, MaxLimit: false} {
		if err := policy(Rule{Request, limit, time.Minute}).Validate(); (err == nil) != ok {
			t.Errorf("%d: %v", limit, err)
		}
	}
	g := guard(t, New(DefaultLimits), policy(Rule{Request, MaxLimit - 1, time.Hour}))
	if times(g, attacker, Request, MaxLimit-1) != 0 || times(g, attacker, Request, 1) != 1 {
		t.Error("the largest limit is not exact")
	}
}
