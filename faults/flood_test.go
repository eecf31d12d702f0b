//go:build linux

package faults

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// flood sends requests with keys that are none, each another one, on eight
// connections: rate a second in all, or as fast as it gets answers for 0. It
// returns the number of answers, and of those that do not have the status want.
func flood(addr string, want, rate int, duration time.Duration) (answers, wrong int64, err error) {
	const conns = 8
	ctx, cancel := context.WithTimeout(context.Background(), duration)
	defer cancel()
	var total, bad atomic.Int64
	errs := make([]error, conns)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
			if err != nil {
				errs[i] = err
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			begun := time.Now()
			for n := 0; ctx.Err() == nil; n++ {
				if rate > 0 {
					time.Sleep(time.Until(begun.Add(time.Duration(n) * time.Second * conns / time.Duration(rate)))) // the rate
				}
				token := tokenOf(1<<40 + rand.IntN(1<<40)) // of the right form
				if n%2 == 1 {
					token = token[:20] + "!" + token[20:40]
				}
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				if _, errs[i] = fmt.Fprintf(conn, "GET /v1/contacts HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", addr, token); errs[i] != nil {
					return
				}
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					errs[i] = err
					return
				}
				if _, errs[i] = io.Copy(io.Discard, resp.Body); errs[i] != nil {
					return
				}
				total.Add(1)
				if resp.StatusCode != want {
					bad.Add(1)
				}
			}
		})
	}
	wg.Wait()
	for _, e := range errs {
		if e != nil {
			err = e
		}
	}
	return total.Load(), bad.Load(), err
}

// probe uses a key at a calm rate until ctx ends and returns how long each
// decision took.
func (s *server) probe(ctx context.Context, token string) (took []time.Duration, wrong int) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		began := time.Now()
		status, err := ask(context.Background(), client, "GET", "http://"+s.site+"/v1/contacts", token)
		took = append(took, time.Since(began))
		if err != nil || status != http.StatusOK {
			wrong++
		}
		time.Sleep(2 * time.Millisecond) // the rate
	}
	return took, wrong
}

// TestFlood floods the server with keys that are none. What it costs the users
// of good keys is compared with a flood of the same number of requests to a
// site without keys: what is left is the part of the keys, not that of a busy
// machine. The two floods take turns.
func TestFlood(t *testing.T) {
	const id = "R22"
	s := newServer(t)
	s.start()
	s.importTokens(amount(1000, 10_000))
	good := tokenOf(1)
	run := func(addr string, want, rate int, duration time.Duration) (p99 time.Duration, answers, wrong int64) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		var took []time.Duration
		var refused int
		probed := make(chan struct{})
		go func() { defer close(probed); took, refused = s.probe(ctx, good) }()
		answers, wrong, err := flood(addr, want, rate, duration)
		cancel()
		<-probed
		if err != nil {
			t.Fatal(err)
		}
		return quantile(took, 0.99), answers, wrong + int64(refused)
	}
	const rate = 2000
	slice := time.Duration(amount(500, 2000)) * time.Millisecond
	run(s.bare, http.StatusOK, rate, slice) // warms up
	before, err := s.resources()
	if err != nil {
		t.Fatal(err)
	}
	var bare, keyed []time.Duration
	var ratios []time.Duration // in thousandths
	var wrong, answers int64
	rounds := amount(4, 30)
	for range rounds {
		plain, _, bad := run(s.bare, http.StatusOK, rate, slice)
		with, n, worse := run(s.site, http.StatusUnauthorized, rate, slice)
		bare, keyed, ratios = append(bare, plain), append(keyed, with), append(ratios, 1000*with/plain)
		wrong, answers = wrong+bad+worse, answers+n
	}
	// As fast as it goes, and over a file that has nothing to read any more.
	logged := len(s.logs())
	if err := os.Truncate(s.store, 0); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, n, bad := run(s.site, http.StatusUnauthorized, 0, time.Duration(amount(1, 30))*time.Second)
	speed := float64(n) / time.Since(began).Seconds()
	touched := strings.Count(s.logs()[logged:], "cannot be read") + strings.Count(s.logs()[logged:], "damaged")
	after, err := s.resources()
	if err != nil {
		t.Fatal(err)
	}
	if !s.running() || s.crashed() != "" {
		t.Fatalf("the process ended: %s", s.crashed())
	}
	ratio := float64(quantile(ratios, 0.5)) / 1000
	must(t, id, "flood of unknown and malformed keys: wrong decisions", "0", wrong+bad == 0, "%d of %d, the last %d at %.0f a second", wrong+bad, answers+n, n, speed)
	must(t, id, "memory (RSS) it adds", "64 MB", after.resident-before.resident < 64<<20, "%+.1f MB (heap %+.1f MB)", float64(after.resident-before.resident)/(1<<20), float64(after.heap-before.heap)/(1<<20))
	note(t, id, fmt.Sprintf("p99 of a good key, to a flood of %d bare requests a second", rate), "+20 %", ratio <= 1.2, "%+.0f %% (median of %d pairs; p99 %.1f ms, bare %.1f ms)",
		100*(ratio-1), rounds, float64(quantile(keyed, 0.5))/1e6, float64(quantile(bare, 0.5))/1e6)
	if ratio > 3 {
		t.Errorf("a flood makes good keys %.1f times slower than bare requests do", ratio)
	}
	must(t, id, "store reads", "0", touched == 0, "%d, with the file cut to nothing under the flood", touched)
}
