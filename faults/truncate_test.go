//go:build linux

package faults

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"
)

// TestTruncatedWhileRunning cuts the file of a running server, as logrotate's
// copytruncate does.
func TestTruncatedWhileRunning(t *testing.T) {
	const id = "R11"
	sizes := []int64{0, 2 * int64(os.Getpagesize()), 5 * int64(os.Getpagesize())}
	rounds, refusals := amount(1, 10), 0
	var problems []string
	var requests, wrong int64
	for range rounds {
		for _, size := range sizes {
			s := newServer(t)
			s.start()
			b := newBook(s, 2)
			tr := s.traffic(time.Millisecond, s.expectations())
			for range 20 {
				if _, err := b.clerks[0].step(); err != nil {
					t.Fatal(err)
				}
			}
			// The cut falls among changes.
			ctx, stop := context.WithCancel(t.Context())
			time.AfterFunc(30*time.Millisecond, func() {
				if err := os.Truncate(s.store, size); err != nil {
					t.Error(err)
				}
				time.AfterFunc(70*time.Millisecond, stop)
			})
			if err := b.work(ctx); err != nil {
				problems = append(problems, err.Error())
			}
			<-ctx.Done() // the file is cut
			for range 3 {
				_, _, r, err := s.create(t.Context(), "after the cut")
				if err == nil {
					err = wantProblem(r, http.StatusServiceUnavailable, s.store, "cp <backup> "+s.store, "Nothing was changed")
				}
				if err == nil {
					r, err = s.manage(t.Context(), "GET", "/backup", "")
				}
				if err == nil {
					err = wantProblem(r, http.StatusServiceUnavailable, s.store)
				}
				if err != nil {
					problems = append(problems, fmt.Sprintf("after a cut to %d bytes: %v", size, err))
				}
				refusals++
			}
			if ok, summary := tr.halt(); !ok {
				problems = append(problems, summary)
			}
			requests, wrong = requests+tr.requests.Load(), wrong+tr.wrong.Load()+tr.failed.Load()
			if !s.running() || s.crashed() != "" {
				problems = append(problems, "the process died: "+s.crashed())
			}
			// It ends as asked, though its file is gone.
			s.signal(os.Interrupt)
			if !s.ended(atMost(5 * time.Second)) {
				problems = append(problems, "did not end after SIGINT")
			}
		}
	}
	for _, p := range problems {
		t.Error(p)
	}
	must(t, id, "the live file truncated: process", "lives; changes and backups refused with the cause; ends when asked", len(problems) == 0, "%d cuts, %d refusals, %d problems", rounds*len(sizes), refusals, len(problems))
	must(t, id, "the live file truncated: decisions meanwhile", "0 wrong, 0 failed", wrong == 0 && requests > 0, "%d of %d", wrong, requests)
}
