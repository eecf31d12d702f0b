package attack

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// flood sends n requests over a few connections and counts the statuses.
func (s *scene) flood(n int, request func(i int) *http.Request) map[int]int {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	statuses := make(map[int]int)
	var mu sync.Mutex
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				resp, err := client.Do(request(i))
				status := 0
				if err == nil {
					status = resp.StatusCode
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return statuses
}

// to makes a request to the site.
func (s *scene) to(method, path string, headers ...string) *http.Request {
	req, err := http.NewRequest(method, "http://"+s.Site+path, nil)
	if err != nil {
		panic(err) // a mistake in the case
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// heap returns the bytes in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// allocated returns how many bytes this process has allocated in all.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// fastest returns how long the slowest of the fastest hundredth takes.
func fastest(times []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(times))[len(times)/100]
}

// settles waits until a figure is at most so much.
func (s *scene) settles(what string, most int64, figure func() int64) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	got := figure()
	for ; got > most && time.Now().Before(deadline); got = figure() {
		time.Sleep(50 * time.Millisecond) // connections and garbage have no signal to wait for
	}
	s.t.Logf("%s: %d, at most %d", what, got, most)
	if got > most {
		s.t.Errorf("%s: %d, want at most %d", what, got, most)
	}
}

// series returns the names and labels of Caddy's metrics.
func (s *scene) series() (names []string) {
	for line := range strings.Lines(string(s.adminPage("/metrics").Body)) {
		if name, _, ok := strings.Cut(line, "} "); ok && strings.HasPrefix(line, "caddy_") {
			names = append(names, name)
		}
	}
	return names
}

// colliding returns different bodies of tokens that have one CRC-32. The sum is
// linear over XOR, and h to o and H to O are 16 letters that XOR moves among
// themselves in 4 bits; so 43 places are 172 unknowns of 32 equations.
func colliding(n int) []string {
	const size = len("ck_") + 43
	type vector struct {
		sum  uint32
		text [size]byte
	}
	zero := crc32.ChecksumIEEE(make([]byte, size))
	var pivots [32]*vector
	var kernel []vector
	for place := len("ck_"); place < size; place++ {
		for _, bit := range []byte{1, 2, 4, 0x20} {
			var v vector
			v.text[place] = bit
			v.sum = crc32.ChecksumIEEE(v.text[:]) ^ zero
			for b := range pivots {
				if v.sum>>b&1 == 0 {
					continue
				}
				if pivots[b] == nil {
					pivots[b] = &v
					break
				}
				v.sum ^= pivots[b].sum
				for i := range v.text {
					v.text[i] ^= pivots[b].text[i]
				}
			}
			if v.sum == 0 {
				kernel = append(kernel, v)
			}
		}
	}
	bodies := make([]string, n)
	for i := range bodies {
		body := []byte("ck_" + strings.Repeat("H", 43))
		for _, v := range kernel {
			if rand.IntN(2) == 1 {
				for j := range body {
					body[j] ^= v.text[j]
				}
			}
		}
		bodies[i] = string(body)
	}
	return bodies
}

func randomBody() string {
	body := []byte("ck_")
	for range 43 {
		body = append(body, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[rand.IntN(62)])
	}
	return string(body)
}

// exhaustion is class J: what strangers can use up.
var exhaustion = []attack{
	{"J01_bogus_keys", func(s *scene) {
		s.signer(strings.Replace(site, "api_key {", "api_key {\nsignature hawk message", 1))
		bogus := func(i int) *http.Request {
			switch i % 4 {
			case 0:
				return s.to("GET", "/public/x", "Authorization: Bearer "+withSum(randomBody()))
			case 1:
				return s.to("GET", "/public/x", fmt.Sprintf("X-API-Key: junk-%d", i))
			case 2:
				return s.to("GET", "/public/x", fmt.Sprintf(`Authorization: Hawk id="key_%d", ts="%d", nonce="n%d", mac="6R4rV5iE+NPoym+WwjeHzjAGXUtLNIxmo1vpMofpLAE="`, i, time.Now().Unix(), i))
			}
			return s.to("GET", "/public/x", fmt.Sprintf(`Signature-Input: s=("@method" "@authority" "@path" "@query");created=%d;keyid="key_%d";nonce="n%d"`, time.Now().Unix(), i, i), "Signature: s=:"+strings.Repeat("A", 43)+"=:")
		}
		s.flood(400, bogus)
		before := heap()
		statuses := s.flood(16_000, bogus)
		if len(statuses) != 1 || statuses[http.StatusUnauthorized] != 16_000 {
			s.t.Errorf("statuses %v", statuses)
		}
		s.settles("bytes of heap", before+8<<20, heap)
		s.accepted("a good key", s.get("/public/x", s.reader.bearer()))
	}},
	{"J02_tables_at_their_bounds", tablesAtTheirBounds},
	{"J03_bodies_of_refused_requests", func(s *scene) {
		goroutines := int64(runtime.NumGoroutine())
		heads := []string{
			"POST /public/x HTTP/1.1\r\nContent-Length: 1000000000\r\n", "POST /public/x HTTP/1.1\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n", "POST /public/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
			"POST /public/x HTTP/1.1\r\nContent-Length: 1000000000\r\nX-API-Key: nobody\r\n", "POST /public/../x HTTP/1.1\r\nContent-Length: 1000000000\r\n", "PUT /nowhere HTTP/1.1\r\nContent-Length: 9\r\n" + s.reader.bearer() + "\r\n",
		}
		var slowest, lost atomic.Int64
		var wg sync.WaitGroup
		for i := range 240 {
			wg.Go(func() {
				conn, err := net.Dial("tcp", s.Site)
				if err != nil {
					s.t.Error(err)
					return
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				begun := time.Now()
				_, _ = io.WriteString(conn, heads[i%len(heads)]+"Host: "+s.Site+"\r\n\r\n")
				sending := i%12 >= 6 && !strings.Contains(heads[i%len(heads)], "Expect")
				if sending { // at full speed
					go func() {
						chunk := []byte("10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n")
						for {
							if _, err := conn.Write(chunk); err != nil {
								return
							}
						}
					}()
				}
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if sending && errors.Is(err, syscall.ECONNRESET) {
					lost.Add(1) // of a client that does not read for half a second
					return
				}
				if err != nil || resp.StatusCode/100 != 4 || !resp.Close {
					s.t.Errorf("%.60q: %v, %v", heads[i%len(heads)], resp, err)
					return
				}
				_, _ = io.Copy(io.Discard, conn) // until it is closed
				slowest.Store(max(slowest.Load(), int64(time.Since(begun))))
			})
		}
		wg.Wait()
		s.t.Logf("the slowest of 240 was over after %v", time.Duration(slowest.Load()))
		if slowest.Load() > int64(30*time.Second) {
			s.t.Error("a connection was held")
		}
		if lost.Load() > 60 {
			s.t.Errorf("%d answers were lost", lost.Load())
		}
		s.settles("goroutines", goroutines+30, func() int64 { return int64(runtime.NumGoroutine()) })
		if s.Upstream.Hits() != 0 && strings.Contains(s.Upstream.Last(), "POST") {
			s.t.Error("the upstream was asked")
		}
	}},
	{"J04_metric_series", func(s *scene) {
		s.Load("metrics\n"+trustingStrict, behindLockout("j04", "request 60000 in 1h\non refused 60000 in 1h")+"\n"+zone("{http.api_key.caller}", 20_000))
		one := func(i int) *http.Request {
			path := fmt.Sprintf("/public/%d?a=%d", i, i)
			switch i % 6 {
			case 5:
				return s.to("GET", path, fmt.Sprintf("X-Forwarded-For: 2001:db8:%x::1", i%65536), "X-API-Key: nobody")
			case 0:
				return s.to(fmt.Sprintf("M%d", i), path, "X-API-Key: nobody")
			case 1:
				return s.to("GET", path, s.reader.bearer(), fmt.Sprintf("User-Agent: agent/%d", i))
			case 2:
				return s.to("GET", path, fmt.Sprintf("X-API-Key: key_%d", i), fmt.Sprintf("Referer: https://r%d.example", i))
			case 3:
				req := s.to("GET", fmt.Sprintf("/r%d/x", i), s.reader.bearer())
				req.Header.Set("Origin", fmt.Sprintf("https://o%d.example", i))
				return req
			}
			return s.to("GET", fmt.Sprintf("/public/../%d", i))
		}
		s.flood(50, one)
		s.series() // which counts itself
		before := s.series()
		if statuses := s.flood(10_000, one); statuses[0] != 0 || statuses[200] == 0 || statuses[401] == 0 || statuses[405] == 0 {
			s.t.Errorf("statuses %v", statuses)
		}
		after := s.series()
		added := slices.DeleteFunc(slices.Clone(after), func(name string) bool { return slices.Contains(before, name) })
		if len(added) > 0 || len(before) < 20 {
			s.t.Errorf("%d series became %d; new are %q", len(before), len(after), added)
		}
	}},
	{"J05_many_requests", func(s *scene) {
		// Half of them are refused, from ever more addresses and with ever more paths.
		s.Load(trustingStrict, site)
		one := func(i int) *http.Request {
			from := fmt.Sprintf("X-Forwarded-For: 198.18.%d.%d", i>>8&255, i&255)
			if i%2 == 0 {
				return s.to("GET", fmt.Sprintf("/admin/%d?n=%d", i, i), s.reader.bearer(), from)
			}
			return s.to("GET", fmt.Sprintf("/public/%d?n=%d", i, i), s.reader.bearer(), from)
		}
		const half = 5_000
		var sizes []int64
		for round := range 2 {
			if statuses := s.flood(half, one); statuses[200] != half/2 || statuses[403] != half/2 {
				s.t.Fatalf("statuses %v", statuses)
			}
			var use struct{ Requests, Refused int }
			if err := json.Unmarshal([]byte(s.managed("GET", "/keys/"+s.reader.id+"/usage", "")), &use); err != nil || use.Requests != (round+1)*half || use.Refused != (round+1)*half/2 {
				s.t.Errorf("%d requests and %d refusals were counted after %d: %v", use.Requests, use.Refused, (round+1)*half, err)
			}
			info, err := os.Stat(s.StorePath() + ".ledger")
			if err != nil {
				s.t.Fatal(err)
			}
			sizes = append(sizes, info.Size())
		}
		// The same combinations again take no more room.
		if grown := sizes[1] - sizes[0]; grown > 256<<10 {
			s.t.Errorf("the record grew by %d bytes, from %d", grown, sizes[0])
		}
	}},
	{"J06_colliding_tokens", func(s *scene) {
		const n = 3000
		same := colliding(n)
		if withSum(same[0])[46:] != withSum(same[n-1])[46:] || same[0] == same[n-1] {
			s.t.Fatal("they do not collide")
		}
		var times [2][]time.Duration
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		for i := range n {
			for kind, body := range []string{randomBody(), same[i]} {
				req := s.to("GET", "/public/x", "Authorization: Bearer "+withSum(body))
				begun := time.Now()
				resp, err := client.Do(req)
				times[kind] = append(times[kind], time.Since(begun))
				if err != nil || resp.StatusCode != http.StatusUnauthorized {
					s.t.Fatalf("%v", err)
				}
				resp.Body.Close()
			}
		}
		// Of those that have two thirds of the others before them, the fastest, to
		// which other work on the machine adds nothing.
		random, colliding := fastest(times[0][2*n/3:]), fastest(times[1][2*n/3:])
		s.t.Logf("the fastest hundredth takes: random %v, colliding %v", random, colliding)
		if colliding > 2*random {
			s.t.Error("colliding tokens are slow")
		}
	}},
	{"J21_headers_as_large_as_can_be", func(s *scene) {
		const size = 900 << 10
		s.Load("servers {\nmax_header_size 1MB\n}", site)
		long := func(part string) string { return strings.Repeat(part, size/len(part)) }
		for what, head := range map[string]string{
			"dot segments": "GET /public/" + long("../") + " HTTP/1.1", "escapes": "GET /public/" + long("%2e") + " HTTP/1.1", "segments": "GET /public/" + long("a/") + "a HTTP/1.1",
			"parameters": "GET /public/x?" + long("a&") + " HTTP/1.1", "keys in the query": "GET /public/x?" + long("api_key=a&") + " HTTP/1.1", "escaped names": "GET /public/x?" + long("%61pi_key&") + " HTTP/1.1",
			"one key": "GET /public/x HTTP/1.1\r\nX-API-Key: " + long("x"), "a key of commas": "GET /public/x HTTP/1.1\r\nAuthorization: Bearer " + long(", Bearer "), "Connection": "GET /public/x HTTP/1.1\r\n" + s.reader.bearer() + "\r\nConnection: " + long("x-a, "),
			"cookies": "GET /public/x HTTP/1.1\r\n" + s.reader.bearer() + "\r\nCookie: " + long("api_key=a; "), "Referer": "GET /public/x HTTP/1.1\r\n" + s.reader.bearer() + "\r\nReferer: /?" + long("api_key=ck_a&"),
			"forwarded": "GET /public/x HTTP/1.1\r\n" + s.reader.bearer() + "\r\nX-Forwarded-For: " + long("10.1.2.3, "), "lines": "GET /public/x HTTP/1.1\r\n" + s.reader.bearer() + strings.Repeat("\r\nX-Key-Id: forged", 20_000),
			"Hawk": "GET /public/x HTTP/1.1\r\nAuthorization: Hawk " + long(`id="a", `), "Signature-Input": "GET /public/x HTTP/1.1\r\nSignature: a=:AA==:\r\nSignature-Input: " + long(`a=("@method"), `), "Basic": "GET /public/x HTTP/1.1\r\nAuthorization: Basic " + long("OjpB"),
		} {
			begun := time.Now()
			answer := s.bytes(head + "\r\nHost: " + s.Site + "\r\n\r\n")()
			took := time.Since(begun)
			if answer.Status == 0 || answer.Status == http.StatusRequestHeaderFieldsTooLarge || took > 30*time.Second { // quadratic work takes minutes
				s.t.Errorf("%s: status %d after %v", what, answer.Status, took)
			}
		}
	}},
	{"J22_reloads_leave_nothing", func(s *scene) {
		reload := func(i int) {
			s.load(site + strings.Repeat("\n", i%5+1))
			if err := s.TryLoad("", site+"\nreverse_proxy {\nto http://a http://b/path\n}"); err == nil {
				s.t.Fatal("a bad configuration was taken")
			}
		}
		for i := range 4 {
			reload(i)
		}
		goroutines, bytes := int64(runtime.NumGoroutine()), heap()
		for i := range 12 {
			reload(i)
		}
		s.settles("goroutines", goroutines+20, func() int64 { return int64(runtime.NumGoroutine()) })
		s.settles("bytes of heap", bytes+8<<20, heap)
	}},
	{"J23_imported_digests_that_collide", func(s *scene) {
		var entries []string
		for i := range 5000 {
			entries = append(entries, fmt.Sprintf(`{"name":"x","sha256":"%s%016x"}`, strings.Repeat("ab", 24), i+1))
		}
		s.ownStore()
		begun := time.Now()
		if answer := s.Manage("POST", "/import", `{"keys":[`+strings.Join(entries, ",")+`]}`); answer.Status != http.StatusOK {
			s.t.Fatalf("import: %d %.200s", answer.Status, answer.Body)
		}
		took := time.Since(begun)
		s.t.Logf("5,000 digests with the same 24 bytes at the beginning: %v", took)
		if took > 50*time.Second {
			s.t.Error("colliding digests are slow")
		}
		key := s.key(`{"name":"x","scopes":["read"]}`)
		s.accepted("among them", s.get("/public/x", key.bearer()))
	}},
	{"J24_a_stranger_beside_a_caller", func(s *scene) {
		done := make(chan map[int]int)
		go func() {
			done <- s.flood(4000, func(int) *http.Request {
				return s.to("GET", "/public/x", "Authorization: Bearer "+withSum(randomBody()))
			})
		}()
		for range 200 {
			s.accepted("beside a flood", func() rig.Answer { return s.Get("/public/x", s.reader.bearer()) })
		}
		if statuses := <-done; len(statuses) != 1 || statuses[http.StatusUnauthorized] != 4000 {
			s.t.Errorf("statuses %v", statuses)
		}
	}},
}
