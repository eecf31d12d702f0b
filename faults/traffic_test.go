//go:build linux

package faults

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// traffic asks the guarded site with the same tokens over and over, and
// compares every decision.
type traffic struct {
	requests, wrong, failed atomic.Int64

	once  sync.Once
	first string // the first wrong decision or failure
	stop  func()
}

// expect is a token and the status that it must get.
type expect struct {
	token string
	want  int
}

// expectations are a key in force, a revoked one, and one that never was.
func (s *server) expectations() []expect {
	s.t.Helper()
	_, good := s.mustCreate("traffic")
	return []expect{{good, http.StatusOK}, {s.revoked("traffic, revoked"), http.StatusUnauthorized}, {good[:len(good)-1] + "!", http.StatusUnauthorized}}
}

// traffic starts a client for each expectation, with a pause between requests.
// It ends with halt, or with the test.
func (s *server) traffic(pause time.Duration, all []expect) *traffic {
	ctx, cancel := context.WithCancel(s.t.Context())
	tr := new(traffic)
	var wg sync.WaitGroup
	for _, e := range all {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				status, err := ask(ctx, client, "GET", "http://"+s.site+"/", e.token)
				if ctx.Err() != nil {
					return // cut off by the test
				}
				tr.count(status, err, e.want)
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	tr.stop = func() { cancel(); wg.Wait() }
	s.t.Cleanup(tr.stop)
	return tr
}

// count takes an answer, or none, and compares it.
func (tr *traffic) count(status int, err error, want int) {
	switch {
	case err != nil:
		tr.failed.Add(1)
		tr.once.Do(func() { tr.first = err.Error() })
	case status != want && status >= 500:
		tr.failed.Add(1)
		tr.once.Do(func() { tr.first = fmt.Sprint("status ", status) })
	case status != want:
		tr.wrong.Add(1)
		tr.once.Do(func() { tr.first = fmt.Sprintf("status %d instead of %d", status, want) })
	}
	tr.requests.Add(1)
}

// halt ends the traffic and says what came of it.
func (tr *traffic) halt() (ok bool, summary string) {
	tr.stop()
	ok = tr.requests.Load() > 0 && tr.wrong.Load() == 0 && tr.failed.Load() == 0
	return ok, fmt.Sprintf("%d wrong and %d failed of %d decisions%s", tr.wrong.Load(), tr.failed.Load(), tr.requests.Load(), prefixed(": ", tr.first))
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}
