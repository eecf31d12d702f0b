//go:build linux

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// importOwn gives the server keys with these tokens.
func (s *server) importOwn(tokens []string) {
	s.t.Helper()
	for len(tokens) > 0 {
		some := tokens[:min(len(tokens), 50_000)]
		tokens = tokens[len(some):]
		var body strings.Builder
		for i, token := range some {
			fmt.Fprintf(&body, `%c{"name":"customer","scopes":["contacts:read"],"token":%q}`, "[,"[min(i, 1)], token)
		}
		if r := s.mustManage("POST", "/import", `{"keys":`+body.String()+"]}"); r.status != http.StatusOK {
			s.t.Fatalf("importing: %d %.200s", r.status, r.body)
		}
	}
}

// askWith asks with each token count times in all, and returns how long that took.
func (s *server) askWith(tokens []string, count int) time.Duration {
	s.t.Helper()
	began := time.Now()
	wrong, err := hammering{addr: s.site, conns: 4, depth: 16, count: int64(count), request: func(dst []byte, n int64) ([]byte, int) {
		return fmt.Appendf(dst, "/v1/contacts HTTP/1.1\r\nAuthorization: Bearer %s", tokens[int(n)%len(tokens)]), http.StatusOK
	}}.run()
	if err != nil || wrong > 0 {
		s.t.Fatalf("%d wrong decisions of %d, %v", wrong, count, err)
	}
	return time.Since(began)
}

// TestKeysThatCollide gives the server keys whose tokens have one sum under the
// usual quick hashes, beside as many random ones, and uses both in turns.
func TestKeysThatCollide(t *testing.T) {
	const id = "R38"
	s := newServer(t)
	s.start()
	n := amount(300, 100_000)
	alike, random := colliding(n), make([]string, n)
	for i := range random {
		random[i] = randomText(64)
	}
	s.importOwn(alike)
	s.importOwn(random)
	rounds := amount(4, 6)
	var ratios []time.Duration // in thousandths
	for range rounds {
		plain := s.askWith(random, n)
		ratios = append(ratios, 1000*s.askWith(alike, n)/plain)
	}
	ratio := float64(quantile(ratios, 0.5)) / 1000
	must(t, id, fmt.Sprintf("%d keys whose tokens collide under FNV-1a, CRC-32 and xxHash64: wrong decisions", n), "0", true, "0 of %d", rounds*n)
	note(t, id, "they take, to random ones", "2 times", ratio <= 2, "%.2f times (median of %d pairs)", ratio, rounds)
}

// writers change keys at a rate, until ctx ends, each some of its own.
type writers struct {
	s       *server
	ids     []string
	rate    int // a second in all
	written atomic.Int64
	failed  atomic.Int64
}

func (w *writers) run(ctx context.Context) {
	const callers = 16
	began := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := next.Add(1)
				time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(w.rate)))) // the rate
				// Not ctx: what was begun is to be acknowledged.
				r, err := w.s.manage(context.Background(), "PATCH", "/keys/"+w.ids[caller+callers*rand.IntN(len(w.ids)/callers)], fmt.Sprintf(`{"name":"customer %d"}`, n))
				if err != nil || r.status != http.StatusOK {
					w.failed.Add(1)
				}
				w.written.Add(1)
			}
		})
	}
	wg.Wait()
}

// TestKeysWrittenUnderLoad changes keys while others are used: decisions go on.
func TestKeysWrittenUnderLoad(t *testing.T) {
	const id = "R39"
	s := newServer(t)
	s.start()
	keys := amount(500, 10_000)
	s.importTokens(keys)
	w := &writers{s: s, rate: 1000}
	for n := range 200 {
		key, _ := s.mustCreate(fmt.Sprint("changing ", n))
		w.ids = append(w.ids, key.ID)
	}
	used := make([]string, keys)
	for i := range used {
		used[i] = tokenOf(i)
	}
	// One slice: requests at 20,000 a second, or as many as there is time for, and
	// a client that waits for each answer.
	requests := amount(400, 20_000)
	wrong := 0
	slice := func() (took time.Duration, p99 time.Duration) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		var each []time.Duration
		var refused int
		probed := make(chan struct{})
		go func() { defer close(probed); each, refused = s.probe(ctx, used[0]) }()
		took = s.askWith(used, requests)
		cancel()
		<-probed
		wrong += refused
		return took, quantile(each, 0.99)
	}
	rounds := amount(2, 30)
	var ratios, calm, busy []time.Duration
	var writing time.Duration
	var asked int
	for range rounds {
		alone, p99 := slice()
		calm = append(calm, p99)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.run(ctx) }()
		beside, p99 := slice()
		busy, writing, asked = append(busy, p99), writing+beside, asked+requests
		cancel()
		<-done
		ratios = append(ratios, 1000*beside/alone)
	}
	ratio := float64(quantile(ratios, 0.5)) / 1000
	must(t, id, "keys changed beside requests: wrong decisions, changes that failed", "0", wrong == 0 && w.failed.Load() == 0,
		"%d of %d, %d of %d", wrong, 2*asked, w.failed.Load(), w.written.Load())
	changes := float64(w.written.Load()) / writing.Seconds()
	note(t, id, "requests take, beside changes of keys, to without", "2 times, at 1000 changes a second", ratio <= 2 && changes >= 900, "%.2f times (median of %d pairs), at %.0f changes and %.0f requests a second",
		ratio, rounds, changes, float64(asked)/writing.Seconds())
	note(t, id, "p99 of a client that waits for each answer", "5 ms", quantile(busy, 0.5) < 5*time.Millisecond, "%.1f ms, without changes %.1f ms (medians of %d)",
		float64(quantile(busy, 0.5))/1e6, float64(quantile(calm, 0.5))/1e6, rounds)
}
