//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// audited has every write recorded before it is served.
const audited = `@read method GET HEAD
	@write method POST PUT
	api_key {
		require @read contacts:read
		require @write contacts:write {
			audit
		}
	}
	respond "ok"`

// calledIn reads from the trail how many calls of a key were let in, and how many
// of these have an outcome, known or not.
func (s *server) calledIn(id string) (calls, outcomes int) {
	s.t.Helper()
	for after := ""; ; {
		path := "/audit?trail=calls&limit=500&key=" + id
		if after != "" {
			path += "&after=" + url.QueryEscape(after)
		}
		var page struct {
			Entries []struct{ Action, Decision string }
			Next    *string
		}
		if err := json.Unmarshal(s.mustManage("GET", path, "").body, &page); err != nil {
			s.t.Fatal(err)
		}
		for _, e := range page.Entries {
			switch {
			case e.Action == "call" && e.Decision == "allowed":
				calls++
			case e.Action == "call.outcome":
				outcomes++
			}
		}
		if page.Next == nil {
			return calls, outcomes
		}
		after = *page.Next
	}
}

// TestAuditedAfterKill kills the server at random moments while calls are
// recorded and keys are changed: nothing that was answered is missing in a trail.
func TestAuditedAfterKill(t *testing.T) {
	const id = "R35"
	s := newServer(t)
	s.writeConfig(s.caddyfile(audited, ""))
	s.start()
	users := []*user{s.newUser("one"), s.newUser("two"), s.newUser("three")}
	b := newBook(s, 1)
	kills := amount(4, 200)
	for range kills {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var before []int
		for _, u := range users {
			before = append(before, len(u.answered))
		}
		for _, u := range users {
			wg.Go(func() { u.work(ctx, s) })
		}
		var managed error
		wg.Go(func() { managed = b.work(ctx) })
		time.Sleep(50*time.Millisecond + randomly(250*time.Millisecond)) // the random moment
		for i, u := range users {
			u.await(t, before[i]+4)
		}
		s.kill()
		stop()
		wg.Wait()
		if managed != nil {
			t.Fatal(managed)
		}
		s.start()
	}
	missing, answered, recorded, unended := 0, 0, 0, 0
	for _, u := range users {
		calls, outcomes := s.calledIn(u.id)
		missing += max(0, len(u.answered)-calls)
		unended += calls - outcomes
		answered, recorded = answered+len(u.answered), recorded+calls
		if u.wrong > 0 {
			t.Errorf("%d calls were refused", u.wrong)
		}
		if calls > len(u.answered)+u.open {
			t.Errorf("%d calls in the trail, %d answered and %d open", calls, len(u.answered), u.open)
		}
	}
	err := s.verifyTrail() // that no change is without its entry is R01
	must(t, id, "kill -9 while calls are recorded: answered calls without an entry", "0", missing == 0, "%d of %d, %d kills; %d entries", missing, answered, kills, recorded)
	must(t, id, "calls whose outcome is neither told nor said to be unknown", "0", unended == 0, "%d of %d", unended, recorded)
	must(t, id, "a trail that does not verify", "0", err == nil, "%s; %d changes of keys beside the calls", errText(err), b.acknowledged())
	if answered < 10*kills {
		t.Errorf("only %d calls were answered", answered)
	}
}

// TestAuditDiskFull fills the disk of the record: what must be recorded is
// refused, everything else goes on, and it recovers by itself.
func TestAuditDiskFull(t *testing.T) {
	const id = "R36"
	s := newServer(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		skip(t, id, "disk full, audit", "needs a small file system of its own: mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s.store = filepath.Join(disk, "keys.db")
	s.writeConfig(s.caddyfile(audited, ""))
	s.start()
	u := s.newUser("exporter")
	_, reader := s.mustCreate("reader")
	export := func() int {
		t.Helper()
		status, err := s.status(t.Context(), "POST", u.token)
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	served := 0
	var slowest, back time.Duration
	for range amount(1, 5) {
		ballast := filepath.Join(disk, "ballast")
		fillDisk(t, ballast)
		// What is left in the file is used up first.
		refused := 0
		for deadline := time.Now().Add(patience); refused < 50; {
			began := time.Now()
			switch status := export(); status {
			case http.StatusOK:
				served++
			case http.StatusServiceUnavailable:
				refused++
				slowest = max(slowest, time.Since(began))
				s.wantStatus(reader, http.StatusOK, "a rule without audit, with a full disk")
			default:
				t.Fatalf("status %d", status)
			}
			if time.Now().After(deadline) {
				t.Fatal("the disk never became full")
			}
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		freed := time.Now()
		for export() != http.StatusOK {
			if time.Since(freed) > patience {
				t.Fatal("no recovery after space was freed")
			}
			time.Sleep(10 * time.Millisecond) // nothing signals that it recovered but that it does
		}
		served++
		back = max(back, time.Since(freed))
	}
	calls, _ := s.calledIn(u.id)
	within(t, id, "disk full: calls that must be recorded are refused with 503", "1 s", time.Second, slowest, "slowest %s", milliseconds(slowest))
	must(t, id, "disk full: calls that were served without an entry", "0", calls >= served, "%d served, %d entries", served, calls)
	within(t, id, "they are served again after space was freed, without help", "5 s", 5*time.Second, back, "slowest %s", milliseconds(back))
	if err := s.verifyTrail(); err != nil {
		t.Error(err)
	}
}
