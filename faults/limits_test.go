//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// spender uses a key with a quota on several connections at once.
type spender struct {
	token                        string
	accepted, refused, unanswers atomic.Int64
}

// newSpender makes a key with limits.
func (s *server) newSpender(limits string) *spender {
	s.t.Helper()
	r := s.mustManage("POST", "/keys", fmt.Sprintf(`{"name":"spender","scopes":["contacts:write"],"limits":[%q,"1000000/1h"]}`, limits))
	var made struct{ Key keyView }
	if err := json.Unmarshal(r.body, &made); err != nil {
		s.t.Fatal(err)
	}
	return &spender{token: tokenIn(s.t, r)}
}

// spend sends requests until stop says so, by what was accepted in all.
func (p *spender) spend(t testing.TB, s *server, stop func(accepted int64) bool) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
			defer client.CloseIdleConnections()
			for !stop(p.accepted.Load()) {
				switch status, err := ask(context.Background(), client, "POST", "http://"+s.site+"/v1/contacts", p.token); {
				case err != nil:
					p.unanswers.Add(1)
					return // killed
				case status == http.StatusOK:
					p.accepted.Add(1)
				case status == http.StatusTooManyRequests:
					p.refused.Add(1)
					return
				default:
					t.Errorf("status %d", status)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestQuotaKill kills the server at random moments while a key spends its quota.
// What was accepted before and after is never more than the quota, and less by no
// more than what was reserved or not answered at that moment.
func TestQuotaKill(t *testing.T) {
	const id, quota, workers = "R32", 300, 8
	rig.AwaitRoom(t, 24*time.Hour)
	s := newServer(t)
	s.start()
	rounds := amount(4, 100)
	over, lost := 0, int64(0)
	for round := range rounds {
		p := s.newSpender(fmt.Sprintf("%d/month", quota))
		at := 1 + rand.Int64N(quota-1)
		p.spend(t, s, func(accepted int64) bool {
			if accepted >= at {
				s.signal(syscall.SIGKILL)
			}
			return false
		})
		s.kill()
		s.start()
		p.spend(t, s, func(int64) bool { return false })
		accepted := p.accepted.Load()
		if accepted > quota {
			over++
		}
		// A hundredth is reserved, and as much as waits for it.
		unused := quota - accepted - p.unanswers.Load()
		if lost = max(lost, unused); unused > quota/100+workers || accepted > quota {
			t.Errorf("round %d, killed after %d: %d accepted, %d without an answer, of %d", round, at, accepted, p.unanswers.Load(), quota)
		}
	}
	must(t, id, "kill -9 while quotas are spent: quotas overspent", "0", over == 0, "%d kills, %d overspent; at most %d of %d could not be spent any more", rounds, over, max(lost, 0), quota)
}

// TestQuotaDisk takes the disk away from a server with quotas, and gives it back.
func TestQuotaDisk(t *testing.T) {
	const id, quota = "R33", 200
	rig.AwaitRoom(t, 24*time.Hour)
	s := newServer(t)
	s.start()
	p := s.newSpender(fmt.Sprintf("%d/day", quota))
	p.spend(t, s, func(accepted int64) bool { return accepted >= 20 })
	before := p.accepted.Load()
	dir := filepath.Dir(s.store)
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // nothing can be made there
		t.Fatal(err)
	}
	const asked = 40
	closed := 0
	for range asked {
		switch status, err := s.status(t.Context(), "POST", p.token); {
		case err != nil:
			t.Fatal(err)
		case status == http.StatusServiceUnavailable:
			closed++
		case status == http.StatusOK: // of what was reserved
			p.accepted.Add(1)
		default:
			t.Errorf("status %d", status)
		}
	}
	must(t, id, "disk gone: requests of a key with a quota, beyond what was reserved, that are let in", "0", closed >= asked-quota/100-8, "%d of %d answered with 503, the others of what was reserved", closed, asked)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+".gone", dir); err != nil {
		t.Fatal(err)
	}
	p.spend(t, s, func(int64) bool { return false })
	must(t, id, "disk back: what was spent in all", "at most the quota", p.accepted.Load() <= quota && p.accepted.Load() > before, "%d of %d", p.accepted.Load(), quota)
}
