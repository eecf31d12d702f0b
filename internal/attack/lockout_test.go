package attack

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// behindLockout is the site behind a lockout of its own.
func behindLockout(name, on string) string {
	return fmt.Sprintf("lockout {\nname attack-%s-%d\non %s\n}\n%s", name, time.Now().UnixNano(), on, site)
}

// guessesByAllWays guesses a thousand times in a minute, by every place of a
// key, on every route and method: the counts are one count.
func guessesByAllWays(s *scene) {
	s.Load(trustingStrict, behindLockout("d06", "refused 1000 in 1m"))
	const client = "X-Forwarded-For: 198.51.100.7"
	wrong := caller{token: s.reader.token + "x"}
	ways := []func() rig.Answer{
		s.get("/public/x", client, wrong.bearer()),
		s.get("/public/y", client, wrong.header()),
		s.get("/public/z?"+wrong.query(), client),
		s.request("POST", "/public/x", client, wrong.bearer()),
		s.get("/admin/x", client, wrong.bearer()),
		s.get("/nowhere", client, "X-API-Key: short"),
		s.get("/public/x", client, `Authorization: Hawk id="key_00000000000000000000", ts="1", nonce="n", mac="AAAA"`),
		s.get("/public/x", client, `Signature-Input: a=("@method");created=1;keyid="key_00000000000000000000";nonce="n"`, "Signature: a=:AAAA:"),
		s.get("/news/x", client, wrong.bearer()),
		s.get("/public/x", "X-Forwarded-For: ::ffff:198.51.100.7", wrong.bearer()),
	}
	for i := range 1000 {
		if i%100 == 99 { // a success in between takes nothing back
			s.accepted("a good key", s.get("/public/x", client, s.reader.bearer()))
		}
		s.refused(fmt.Sprintf("guess %d", i+1), ways[i%len(ways)], http.StatusUnauthorized)
	}
	for name, send := range map[string]func() rig.Answer{
		"a guess": ways[0], "a good key": s.get("/public/x", client, s.reader.bearer()), "a public path": s.get("/health", client),
		"no key": s.get("/public/x", client), "a forged entry in front": s.get("/public/x", "X-Forwarded-For: 10.0.0.1, 198.51.100.7", s.reader.bearer()),
	} {
		answer := s.refused(name, send, http.StatusTooManyRequests)
		if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err != nil || seconds < 880 || seconds > 900 {
			s.t.Errorf("%s: Retry-After %q, want 15 minutes", name, answer.Header.Get("Retry-After"))
		}
	}
	s.accepted("another address", s.get("/public/x", "X-Forwarded-For: 198.51.100.8", s.reader.bearer()))
	s.accepted("the proxy", s.get("/public/x", s.reader.bearer()))
}

// guessesFromManyAddresses guesses from all over one /64, then once from each of
// a thousand: one counter for each network, and no locks for those.
func guessesFromManyAddresses(s *scene) {
	s.Load(trustingStrict, behindLockout("d07", "refused 500 in 1m"))
	before := s.lockoutCounters()
	for i := range 500 {
		client := fmt.Sprintf("X-Forwarded-For: 2001:db8:0:1:%x:%x:%x:%x", i*7919%65536, i, i*31, i+1)
		s.refused("within a network", s.get("/public/x", client, "X-API-Key: wrong"), http.StatusUnauthorized)
	}
	s.refused("the network", s.get("/public/x", "X-Forwarded-For: 2001:db8:0:1:ffff::1", s.reader.bearer()), http.StatusTooManyRequests)
	if n := s.lockoutCounters() - before; n > 1 {
		s.t.Errorf("%v counters for one network", n)
	}
	for i := range 1000 {
		client := fmt.Sprintf("X-Forwarded-For: 2001:db8:1:%x::1", i)
		s.refused("one of many networks", s.get("/public/x", client, "X-API-Key: wrong"), http.StatusUnauthorized)
	}
	if n := s.lockoutCounters() - before; n > 1000 {
		s.t.Errorf("%v counters for a thousand networks", n)
	}
	s.refused("the network", s.get("/public/x", "X-Forwarded-For: 2001:db8:0:1:ffff::1", s.reader.bearer()), http.StatusTooManyRequests)
	s.accepted("one of many networks", s.get("/public/x", "X-Forwarded-For: 2001:db8:1:1::1", s.reader.bearer()))
}

var counterMetric = regexp.MustCompile(`(?m)^caddy_api_keys_lockout_counters\{lockout="attack-d07-\d+"\} (\d+)$`)

// lockoutCounters returns how many counters are in use.
func (s *scene) lockoutCounters() (n int) {
	s.t.Helper()
	answer, err := rig.Read(http.Get("http://" + s.Admin + "/metrics"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range counterMetric.FindAllStringSubmatch(string(answer.Body), -1) {
		value, _ := strconv.Atoi(m[1])
		n += value
	}
	return n
}

// guessesAtOnce opens many connections and guesses on all of them at the same
// time, with bodies that stall, so that no answer is over before the last guess.
func guessesAtOnce(s *scene) {
	const limit, connections = 20, 400
	s.Load(trustingStrict, behindLockout("d29", fmt.Sprintf("refused %d in 1m", limit)))
	var conns []net.Conn
	for range connections {
		conn, err := net.Dial("tcp", s.Site)
		if err != nil {
			s.t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		conns = append(conns, conn)
	}
	var guesses, locked atomic.Int64
	var wg sync.WaitGroup
	for _, conn := range conns {
		wg.Go(func() {
			fmt.Fprintf(conn, "POST /public/x HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: 198.51.100.9\r\nX-API-Key: wrong\r\nContent-Length: 100000\r\n\r\nx", s.Site)
			var first [12]byte
			if _, err := conn.Read(first[:]); err != nil {
				return
			}
			switch string(first[:]) {
			case "HTTP/1.1 401":
				guesses.Add(1)
			case "HTTP/1.1 429":
				locked.Add(1)
			}
		})
	}
	wg.Wait()
	if guesses.Load() < limit || guesses.Load() > 2*limit || guesses.Load()+locked.Load() != connections {
		s.t.Errorf("%d guesses were answered and %d refused as locked, of %d", guesses.Load(), locked.Load(), connections)
	}
}

// The proxy that did not say for whom it asks is not locked for all of its
// clients, nor can a client lock another by naming it.
func lockOutSomebodyElse(s *scene) {
	s.Load(trustingStrict, behindLockout("d30", "refused 5 in 1m"))
	for _, value := range []string{"garbage", "010.1.2.3", "unknown", "203.0.113.1", "198.51.100.10, garbage"} {
		for range 10 {
			s.refused(value, s.raw("GET /public/x HTTP/1.1", "X-Forwarded-For: "+value, "X-API-Key: wrong"), http.StatusUnauthorized)
		}
	}
	for range 10 { // what a client writes in front of its own address
		s.get("/public/x", "X-Forwarded-For: 198.51.100.10, 198.51.100.66", "X-API-Key: wrong")()
	}
	s.accepted("the proxy", s.get("/public/x", s.reader.bearer()))
	s.accepted("the one that was named", s.get("/public/x", "X-Forwarded-For: 198.51.100.10", s.reader.bearer()))
	s.refused("the one that guessed", s.get("/public/x", "X-Forwarded-For: 198.51.100.66", s.reader.bearer()), http.StatusTooManyRequests)
	if logs := s.newLogs(); strings.Count(logs, `"msg":"address locked"`) != 1 {
		s.t.Errorf("%d locks", strings.Count(logs, `"msg":"address locked"`))
	}
}
