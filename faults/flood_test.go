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

// flooding is a flood of requests with keys that are none, each another one.
type flooding struct {
	addr     string
	want     int // the status that each must get
	rate     int // a second in all; 0: as fast as answers come
	duration time.Duration
	most     int64 // requests, 0 for as many as fit into the duration
	from     int64 // addresses that a trusted proxy names in turn, 0 for none
}

// client returns the header line of a request, "" for none.
func (f flooding) client(number int64) string {
	if f.from == 0 {
		return ""
	}
	i := number % f.from
	return fmt.Sprintf("X-Forwarded-For: 10.%d.%d.%d\r\n", i>>16, i>>8&255, i&255)
}

// flood floods on eight connections. It returns the number of answers, and of
// those that do not have the status.
func flood(f flooding) (answers, wrong int64, err error) {
	const conns = 8
	ctx, cancel := context.WithTimeout(context.Background(), f.duration)
	defer cancel()
	var sent, total, bad atomic.Int64
	errs := make([]error, conns)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			conn, err := net.DialTimeout("tcp", f.addr, patience)
			if err != nil {
				errs[i] = err
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			begun := time.Now()
			for n := 0; ctx.Err() == nil; n++ {
				number := sent.Add(1)
				if f.most > 0 && number > f.most {
					return
				}
				if f.rate > 0 {
					time.Sleep(time.Until(begun.Add(time.Duration(n) * time.Second * conns / time.Duration(f.rate)))) // the rate
				}
				token := tokenOf(1<<40 + rand.IntN(1<<40)) // of the right form
				if n%2 == 1 {
					token = token[:20] + "!" + token[20:40]
				}
				_ = conn.SetDeadline(time.Now().Add(patience))
				if _, errs[i] = fmt.Fprintf(conn, "GET /v1/contacts HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%s\r\n", f.addr, token, f.client(number)); errs[i] != nil {
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
				if resp.StatusCode != f.want {
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
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
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

// layers is a site with everything that looks at an address, and a limit behind
// the key. No address of the flood reaches a limit: the tables are what counts.
const layers = `lockout {
		on request 60000 in 1m
		on refused 100 in 1m
	}
	@read method GET HEAD
	api_key {
		require @read contacts:read
	}
	rate_limit {
		zone org {
			key {http.api_key.org_or_caller}
			events 100000
			window 1s
		}
	}
	respond "ok"`

// TestFlood floods the server with keys that are none. What it costs the users
// of good keys is compared with a flood of the same number of requests to a
// site without keys: what is left is the part of the keys, not that of a busy
// machine. The two floods take turns.
func TestFlood(t *testing.T) {
	s := newServer(t)
	s.underFlood("R22", "flood of unknown and malformed keys", flooding{duration: time.Duration(amount(1, 30)) * time.Second})
}

// TestFloodOfAddresses is TestFlood with a hundred thousand addresses, behind a
// lockout that counts all of them.
func TestFloodOfAddresses(t *testing.T) {
	s := newLayeredServer(t)
	requests, addresses := int64(amount(10_000, 1_000_000)), int64(amount(1_000, 100_000))
	s.underFlood("R34", fmt.Sprintf("flood of %d such keys from %d addresses, lockout and rate_limit on", requests, addresses),
		flooding{duration: 10 * time.Minute, most: requests, from: addresses})
}

func newLayeredServer(t *testing.T) *server {
	s := newServer(t)
	s.writeConfig(strings.Replace(s.caddyfile(layers, ""), "servers {", "servers {\n\t\ttrusted_proxies static 127.0.0.0/8\n\t\ttrusted_proxies_strict", 1))
	return s
}

// underFlood starts the server, and measures what floods do to it. last is the
// one as fast as it goes, over a file that has nothing to read any more.
func (s *server) underFlood(id, what string, last flooding) {
	t := s.t
	t.Helper()
	s.start()
	s.importTokens(amount(1000, 10_000))
	good := tokenOf(1)
	run := func(f flooding) (p99 time.Duration, answers, wrong int64) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		var took []time.Duration
		var refused int
		probed := make(chan struct{})
		go func() { defer close(probed); took, refused = s.probe(ctx, good) }()
		answers, wrong, err := flood(f)
		cancel()
		<-probed
		if err != nil {
			t.Fatal(err)
		}
		return quantile(took, 0.99), answers, wrong + int64(refused)
	}
	const rate = 2000
	slice := time.Duration(amount(500, 2000)) * time.Millisecond
	plain := flooding{addr: s.bare, want: http.StatusOK, rate: rate, duration: slice, from: last.from}
	refused := flooding{addr: s.site, want: http.StatusUnauthorized, rate: rate, duration: slice, from: last.from}
	last.addr, last.want = s.site, http.StatusUnauthorized
	run(plain) // warms up
	before, err := s.resources()
	if err != nil {
		t.Fatal(err)
	}
	var bare, keyed []time.Duration
	var ratios []time.Duration // in thousandths
	var wrong, answers int64
	rounds := amount(4, 30)
	for range rounds {
		without, _, bad := run(plain)
		with, n, worse := run(refused)
		bare, keyed, ratios = append(bare, without), append(keyed, with), append(ratios, 1000*with/without)
		wrong, answers = wrong+bad+worse, answers+n
	}
	logged := len(s.logs())
	if err := os.Truncate(s.store, 0); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, n, bad := run(last)
	speed := float64(n) / time.Since(began).Seconds()
	touched := 0
	for line := range strings.Lines(s.logs()[logged:]) {
		// Verifying the trail is the server's own doing, at a time of its own.
		if (strings.Contains(line, "cannot be read") || strings.Contains(line, "damaged")) && !strings.Contains(line, "the trail of management actions could not be verified") {
			touched++
		}
	}
	after, err := s.resources()
	if err != nil {
		t.Fatal(err)
	}
	if !s.running() || s.crashed() != "" {
		t.Fatalf("the process ended: %s", s.crashed())
	}
	ratio := float64(quantile(ratios, 0.5)) / 1000
	must(t, id, what+": wrong decisions", "0", wrong+bad == 0, "%d of %d, the last %d at %.0f a second", wrong+bad, answers+n, n, speed)
	must(t, id, "memory (RSS) it adds", "64 MB", after.resident-before.resident < 64<<20, "%+.1f MB (heap %+.1f MB)", float64(after.resident-before.resident)/(1<<20), float64(after.heap-before.heap)/(1<<20))
	note(t, id, fmt.Sprintf("p99 of a good key, to a flood of %d bare requests a second", rate), "+20 %", ratio <= 1.2, "%+.0f %% (median of %d pairs; p99 %.1f ms, bare %.1f ms)",
		100*(ratio-1), rounds, float64(quantile(keyed, 0.5))/1e6, float64(quantile(bare, 0.5))/1e6)
	if full && ratio > 3 { // of times: no verdict beside other work
		t.Errorf("a flood makes good keys %.1f times slower than bare requests do", ratio)
	}
	must(t, id, "store reads", "0", touched == 0, "%d, with the file cut to nothing under the flood", touched)
}
