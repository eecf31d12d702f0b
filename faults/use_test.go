//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// user is a client that uses one key and keeps when each of its requests was
// answered. It sends POST, which its transport does not repeat by itself.
type user struct {
	id, token string

	mu       sync.Mutex
	answered []time.Time
	open     int // requests without an answer: counted by the server, or not
	wrong    int
}

// newUser makes a key and a client for it.
func (s *server) newUser(name string) *user {
	s.t.Helper()
	r := s.mustManage("POST", "/keys", fmt.Sprintf(`{"name":%q,"scopes":["contacts:write"]}`, name))
	var made struct{ Key keyView }
	if err := json.Unmarshal(r.body, &made); err != nil {
		s.t.Fatal(err)
	}
	return &user{id: made.Key.ID, token: tokenIn(s.t, r)}
}

// work uses the key until ctx ends.
func (u *user) work(ctx context.Context, s *server) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		status, err := ask(ctx, client, "POST", "http://"+s.site+"/v1/contacts", u.token)
		u.mu.Lock()
		switch {
		case err != nil:
			u.open++
		case status != http.StatusOK:
			u.wrong++
			fallthrough
		default:
			u.answered = append(u.answered, time.Now())
		}
		u.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Millisecond): // the rate
		}
	}
}

// await waits until the user has so many answers.
func (u *user) await(t *testing.T, answers int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		u.mu.Lock()
		n := len(u.answered)
		u.mu.Unlock()
		if n >= answers {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests were answered, want %d", n, answers)
		}
	}
}

// use reads from the record of use how often a key was used, and how many gaps
// the record knows of.
func (s *server) use(id string) (requests, gaps int) {
	s.t.Helper()
	var use struct {
		Requests int
		Record   struct{ Gaps []struct{ Reason string } }
	}
	if err := json.Unmarshal(s.mustManage("GET", "/keys/"+id+"/usage", "").body, &use); err != nil {
		s.t.Fatal(err)
	}
	return use.Requests, len(use.Record.Gaps)
}

// TestUseAfterKill kills the server at random moments while a key is used, and
// looks how far back the requests are that it does not know of any more.
func TestUseAfterKill(t *testing.T) {
	const id = "R04"
	s := newServer(t)
	s.start()
	u := s.newUser("counted")
	lost, answered := 0, 0
	longest := time.Duration(0)
	kills := amount(2, 40)
	known := 0 // requests in the record, of the rounds before
	for range kills {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { u.work(ctx, s) })
		time.Sleep(1200*time.Millisecond + randomly(time.Second)) // the random moment
		u.await(t, 50)
		killed := time.Now()
		s.kill()
		stop()
		wg.Wait()
		s.start()
		counted, gaps := s.use(u.id)
		if gaps == 0 {
			t.Errorf("the record does not say that something may be missing")
		}
		if missing := len(u.answered) - (counted - known); missing > 0 {
			lost += missing
			longest = max(longest, killed.Sub(u.answered[counted-known]))
		}
		answered += len(u.answered)
		known, u.answered, u.open = counted, nil, 0
	}
	within(t, id, "kill -9: time whose counts of use are lost", "1 s, and the time of a write", 1200*time.Millisecond, longest, "longest of %d %s: %d of %d requests; the record tells of each gap", kills, milliseconds(longest), lost, answered)
	if answered < 50*kills || u.wrong > 0 {
		t.Errorf("%d requests, %d answered wrong", answered, u.wrong)
	}
}
