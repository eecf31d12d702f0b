//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// load gives the running server a configuration, as `caddy reload --force`
// does. It returns the error that the server answers.
func (s *server) load(caddyfile string) error {
	for try := 0; ; try++ {
		req, err := http.NewRequest("POST", "http://"+s.admin+"/load", strings.NewReader(caddyfile))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "text/caddyfile")
		req.Header.Set("Cache-Control", "must-revalidate") // also where nothing changed
		resp, err := oneShot.Do(req)
		if err != nil {
			// The last reload replaced the admin server; the kernel resets
			// connections that the old one had not accepted yet.
			if try < 5 && errors.Is(err, syscall.ECONNRESET) {
				continue
			}
			return err
		}
		defer resp.Body.Close()
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%d %s", resp.StatusCode, text)
		}
		return nil
	}
}

// Kinds of client.
var kinds = []string{"GET, keep-alive", "GET, HTTP/2", "POST", "GET, a connection each"}

// hits counts what one kind of client met.
type hits struct {
	requests, failed, wrong atomic.Int64
	accepted, open          atomic.Int64 // of those with the good token: let in, and without an answer

	once  sync.Once
	first string // the first failure
}

func (h *hits) fail(status int, err error) {
	h.failed.Add(1)
	h.once.Do(func() {
		if h.first = fmt.Sprint("status ", status); err != nil {
			h.first = err.Error()
		}
	})
}

func (h *hits) rate() float64 { return float64(h.failed.Load()) / float64(max(1, h.requests.Load())) }

// clients runs one client of every kind until ctx ends. Every fourth request
// carries bad, which must be refused with refusal.
func (s *server) clients(ctx context.Context, wg *sync.WaitGroup, good, bad string, refusal int) map[string]*hits {
	all := make(map[string]*hits)
	for _, kind := range kinds {
		h := new(hits)
		all[kind] = h
		method, transport := "GET", &http.Transport{}
		switch kind {
		case "GET, HTTP/2":
			transport.Protocols = new(http.Protocols)
			transport.Protocols.SetUnencryptedHTTP2(true)
		case "POST":
			method = "POST" // which the client must not send again by itself
		case "GET, a connection each":
			transport.DisableKeepAlives = true
		}
		wg.Go(func() {
			client := &http.Client{Transport: transport, Timeout: patience}
			defer transport.CloseIdleConnections()
			for i := 0; ctx.Err() == nil; i++ {
				token, want := good, http.StatusOK
				if i%4 == 0 {
					token, want = bad, refusal
				}
				status, err := ask(ctx, client, method, "http://"+s.site+"/v1/contacts", token)
				if token == good && err != nil {
					h.open.Add(1)
				} else if token == good && status == http.StatusOK {
					h.accepted.Add(1)
				}
				if ctx.Err() != nil {
					return
				}
				h.requests.Add(1)
				switch {
				case err != nil, status >= 500:
					h.fail(status, err)
				case status != want:
					h.wrong.Add(1)
				}
				time.Sleep(2 * time.Millisecond) // the rate, not a wait
			}
		})
	}
	return all
}

// TestReloads reloads two servers, with and without keys, at the same moments
// and under the same load.
func TestReloads(t *testing.T) {
	const id = "R16"
	keyed, bare := newServer(t), newServer(t)
	text := keyed.caddyfile(guard, "")
	bareText := strings.ReplaceAll(fmt.Sprintf("{\nadmin %s\npersist_config off\nauto_https off\nservers {\nprotocols h1 h2c\n}\n}\nhttp://%s {\nbind 127.0.0.1\n@none header X-No-Key *\nrespond @none 401\nrespond ok\n}\n", bare.admin, bare.site), "\t", "")
	bare.writeConfig(bareText)
	keyed.start()
	bare.begin()
	awaitStatus(t, bare, http.StatusOK)
	var made struct{ Key keyView }
	r := keyed.mustManage("POST", "/keys", `{"name":"traffic","scopes":["contacts:*"]}`)
	if err := json.Unmarshal(r.body, &made); err != nil {
		t.Fatal(err)
	}
	good := tokenIn(t, r)
	bad := keyed.revoked("revoked")
	signed := keyed.newSigning("signed")

	reload := func() {
		t.Helper()
		if err := errors.Join(keyed.load(text), bare.load(bareText)); err != nil {
			t.Fatal(err)
		}
	}
	// Pools and caches fill, and what waits to be written down.
	warm := keyed.newUser("warm")
	for range 10 {
		reload()
		ctx, stop := context.WithTimeout(t.Context(), 250*time.Millisecond)
		var wg sync.WaitGroup
		keyed.clients(ctx, &wg, warm.token, bad, http.StatusUnauthorized)
		bare.clients(ctx, &wg, warm.token, bad, http.StatusOK)
		wg.Wait()
		stop()
	}
	before, bareBefore := steady(t, keyed), steady(t, bare)

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	keyedHits := keyed.clients(ctx, &wg, good, bad, http.StatusUnauthorized)
	bareHits := bare.clients(ctx, &wg, good, bad, http.StatusOK)
	b := newBook(keyed, 1)
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := b.clerks[0].step(); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(50 * time.Millisecond) // 20 a second
		}
	})
	reloads := amount(40, 200)
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	replays := 0
	for range reloads {
		<-tick.C
		reload()
		replays += signed.repeat(5)
		signed.send(time.Now())
	}
	took := time.Since(began)
	stop()
	wg.Wait()
	keyed.client.CloseIdleConnections()

	wrong := int64(0)
	for i, kind := range kinds {
		k, plain := keyedHits[kind], bareHits[kind]
		wrong += k.wrong.Load()
		goal, ok := "0", k.failed.Load() == 0
		noise := 3 * math.Sqrt(max(plain.rate(), 1/float64(max(1, plain.requests.Load())))*(1/float64(max(1, k.requests.Load()))+1/float64(max(1, plain.requests.Load()))))
		asBare := k.rate() <= plain.rate()+noise
		if i >= 2 {
			goal, ok = "no more than bare Caddy (3 σ)", asBare
		}
		note(t, id, fmt.Sprintf("%d reloads under load: failed requests, %s", reloads, kind), goal, ok, "%d of %d (%.2f %%); bare Caddy beside it %d of %d (%.2f %%)",
			k.failed.Load(), k.requests.Load(), 100*k.rate(), plain.failed.Load(), plain.requests.Load(), 100*plain.rate())
		if k.first != "" {
			t.Logf("%s: first failure: %s; bare: %s", kind, k.first, plain.first)
		}
		if !full { // failures come in bursts, of which the other server has its own
			asBare = k.failed.Load() <= plain.failed.Load()+int64(reloads)
		}
		if !asBare || k.requests.Load() < int64(reloads) {
			t.Errorf("%s: more failures than bare Caddy, or hardly any requests: %s", kind, k.first)
		}
	}
	must(t, id, "wrong decisions", "0", wrong == 0, "%d in %.1f s", wrong, took.Seconds())
	must(t, id, "signed requests of before a reload, sent again after it: let in", "0", replays == 0 && len(signed.spent) > reloads/2, "%d of %d", replays, signed.repeated)
	counted, gaps := keyed.use(made.Key.ID)
	least, most := 0, 0
	for _, h := range keyedHits {
		least, most = least+int(h.accepted.Load()), most+int(h.accepted.Load()+h.open.Load())
	}
	must(t, id, "counts of use lost, or counted twice", "0", least <= counted && counted <= most && gaps == 0, "%d counted; %d were let in, %d more had no answer; %d gaps", counted, least, most-least, gaps)
	err := b.check(false)
	must(t, id, "acknowledged changes lost", "0", err == nil, "%d changes, %d without an answer; %s", b.acknowledged(), b.unknown(), errText(err))

	after := keyed.settled(t, patience/2, func(r resources) bool {
		return r.goroutines <= before.goroutines && r.files <= before.files
	})
	bareAfter := steady(t, bare)
	must(t, id, "goroutines after, to before", "±5", after.goroutines <= before.goroutines+5, "%+d (bare %+d)", after.goroutines-before.goroutines, bareAfter.goroutines-bareBefore.goroutines)
	must(t, id, "open files after, to before", "±5", after.files <= before.files+5, "%+d (bare %+d)", after.files-before.files, bareAfter.files-bareBefore.files)
	// Keys were made and used meanwhile, a few hundred bytes each.
	note(t, id, "heap after, to before", "at most 2 MB more than bare", after.heap-before.heap-(bareAfter.heap-bareBefore.heap) < 2<<20, "%+.2f MB (bare %+.2f MB)",
		float64(after.heap-before.heap)/(1<<20), float64(bareAfter.heap-bareBefore.heap)/(1<<20))
}

// steady measures when two measurements in a row say the same.
func steady(t *testing.T, s *server) resources {
	t.Helper()
	var last resources
	return s.settled(t, patience/2, func(r resources) bool {
		same := r.goroutines == last.goroutines && r.files == last.files
		last = r
		return same
	})
}

func awaitStatus(t *testing.T, s *server, want int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if got, err := s.status(t.Context(), "GET", ""); err == nil && got == want {
			return
		}
		if time.Now().After(deadline) || !s.running() {
			t.Fatalf("not serving:\n%s", tail(s.logs()))
		}
		time.Sleep(3 * time.Millisecond) // as in ready
	}
}
