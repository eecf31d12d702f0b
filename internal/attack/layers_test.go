package attack

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/mholt/caddy-ratelimit"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// zone is a zone of caddy-ratelimit with a name of its own: its counts survive
// configurations.
func zone(key string, events int) string {
	return fmt.Sprintf("rate_limit {\nzone attack%d {\nkey %s\nevents %d\nwindow 1h\n}\n}\n", time.Now().UnixNano(), key, events)
}

// layered is the site between an address limit in front of the key, "" for none,
// and a limit of who has it behind it.
func layered(front, behind string) string {
	return "route {\n" + front + strings.Replace(site[strings.Index(site, "api_key {"):], "reverse_proxy", behind+"reverse_proxy", 1) + "\n}\n" + site[:strings.Index(site, "api_key {")]
}

// peer sends requests from one address of the loopback network.
func (s *scene) peer(addr string) func(method, path string, headers ...string) rig.Answer {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, s.Site)
	}}
	s.t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	return func(method, path string, headers ...string) rig.Answer {
		s.t.Helper()
		answer, err := rig.Read(client.Do(s.to(method, path, headers...)))
		if err != nil {
			s.t.Fatal(err)
		}
		return answer
	}
}

// requestsOfOneAddress sends a thousand requests of all kinds, each of which
// claims to come from somewhere else: they are one address's, and the next one
// is locked out.
func requestsOfOneAddress(s *scene) {
	s.load(behindLockout("d31", "request 1000 in 1m"))
	one, other := s.peer("127.0.0.41"), s.peer("127.0.0.42")
	claimed := func(i int) string {
		return fmt.Sprintf("%s: 10.%d.%d.%d", claims[i%len(claims)], i>>16&255, i>>8&255, i&255)
	}
	for i := range 1000 {
		var answer rig.Answer
		switch i % 5 {
		case 0:
			answer = one("GET", "/public/x", claimed(i), s.reader.bearer())
		case 1:
			answer = one("GET", "/health", claimed(i))
		case 2:
			answer = one("POST", "/nowhere", claimed(i), "X-API-Key: junk")
		case 3:
			answer = one("BREW", "/public/x", claimed(i))
		case 4:
			answer = one("GET", "/public//x", claimed(i), s.writer.header())
		}
		if answer.Status == http.StatusTooManyRequests {
			s.t.Fatalf("request %d is locked out", i+1)
		}
	}
	for what, send := range map[string]func() rig.Answer{
		"a good key": func() rig.Answer { return one("GET", "/public/x", s.reader.bearer()) }, "another claim": func() rig.Answer { return one("GET", "/health", claimed(5000)) },
	} {
		answer := s.refused(what, send, http.StatusTooManyRequests)
		if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err != nil || seconds < 880 || seconds > 900 {
			s.t.Errorf("%s: Retry-After %q, want 15 minutes", what, answer.Header.Get("Retry-After"))
		}
	}
	s.accepted("another address", func() rig.Answer { return other("GET", "/public/x", s.reader.bearer()) })
}

// claimsBeforeZones claims another address with each request, to get past a zone
// in front of the key or into another one's share: from a stranger, and behind a
// trusted proxy by what the client writes in front of its own entry.
func claimsBeforeZones(s *scene) {
	s.load(layered(zone("{client_ip}", 10), ""))
	stranger := s.peer("127.0.0.43")
	passed := 0
	for i := range 40 {
		if answer := stranger("GET", "/public/x", fmt.Sprintf("%s: 10.0.0.%d", claims[i%len(claims)], i), s.reader.bearer()); answer.Status == http.StatusOK {
			passed++
		}
	}
	if passed != 10 {
		s.t.Errorf("a stranger: %d passed, want 10", passed)
	}

	for _, key := range []string{"{client_ip}", "{http.api_key.caller}"} {
		front, behind := zone(key, 10), ""
		if key != "{client_ip}" {
			front, behind = "", front
		}
		s.Load(trustingStrict, layered(front, behind))
		passed := 0
		for i := range 40 {
			if s.Get("/health", fmt.Sprintf("X-Forwarded-For: 10.0.0.%d, 198.51.100.7", i)).Status == http.StatusOK {
				passed++
			}
		}
		if passed != 10 {
			s.t.Errorf("%s behind a proxy: %d passed, want 10", key, passed)
		}
		s.accepted("the one that was named", s.get("/health", "X-Forwarded-For: 10.0.0.1"))
		if key == "{client_ip}" {
			continue
		}
		for i := range 40 { // broken entries have a share of their own, not one each, nor the proxy's
			s.get("/health", fmt.Sprintf("X-Forwarded-For: broken%d", i))()
		}
		s.refused("one more broken entry", s.get("/health", "X-Forwarded-For: garbage"), http.StatusTooManyRequests)
		s.accepted("the proxy itself", s.get("/health"))
	}
}

// bogusKeysAgainstOrgs tries to use up what an organisation has, without a key of
// it that may pass.
func bogusKeysAgainstOrgs(s *scene) {
	s.load(layered("", zone("{http.api_key.org_or_caller}", 5)))
	s.managed("PUT", "/orgs/besieged", `{}`)
	member := s.key(`{"name":"member","org":"besieged","scopes":["read"]}`)
	revoked := s.key(`{"name":"revoked","org":"besieged","scopes":["read"]}`)
	s.managed("POST", "/keys/"+revoked.id+"/revoke", "")
	for range 20 {
		for what, send := range map[string]func() rig.Answer{
			"a changed token": s.get("/public/x", member.bearer()+"x"), "the id": s.get("/public/x", "X-API-Key: "+member.id), "the org": s.get("/public/x", "X-API-Key: besieged"), "its placeholder": s.get("/public/x", "X-API-Key: org:besieged"),
			"a revoked key": s.get("/public/x", revoked.bearer()), "two keys": s.get("/public/x", member.bearer(), member.header()), "no scope": s.get("/admin/x", member.bearer()), "no rule": s.get("/nowhere", member.bearer()), "a path": s.get("/public/../x", member.bearer()),
			"a claim": s.get("/public/x", "X-Key-Org: besieged"), "no key": s.get("/public/x"),
		} {
			s.refused(what, send, 400, 401, 403)
		}
	}
	for range 5 {
		s.accepted("the organisation's own", s.get("/public/x", member.bearer()))
	}
	s.refused("one too many", s.get("/public/x", member.bearer()), http.StatusTooManyRequests)
	s.accepted("another caller", s.get("/public/x", s.reader.bearer()))
}

// emptyBucket uses up what requests without a key have, for all others without
// one: each address has its own.
func emptyBucket(s *scene) {
	s.Load(trustingStrict, layered("", zone("{http.api_key.org_or_caller}", 5)))
	attacker := "X-Forwarded-For: 198.51.100.7"
	for i := range 40 {
		path := []string{"/health", "/news/x"}[i%2]
		if answer := s.get(path, attacker, "X-Key-Id: key_forged", "X-Key-Org: acme")(); (answer.Status == http.StatusOK) != (i < 5) {
			s.t.Errorf("request %d: status %d", i+1, answer.Status)
		}
	}
	for i := range 20 {
		s.accepted("another stranger", s.get("/health", fmt.Sprintf("X-Forwarded-For: 203.0.114.%d", i)))
	}
	s.accepted("a key without an organisation", s.get("/news/x", attacker, s.reader.bearer()))
}

// parallelAtAZone sends a thousand requests at once where a hundred are left.
func parallelAtAZone(s *scene) {
	s.load(layered("", zone("{http.api_key.org_or_caller}", 100)))
	s.managed("PUT", "/orgs/hurried", `{}`)
	keys := []caller{s.key(`{"name":"one","org":"hurried","scopes":["read"]}`), s.key(`{"name":"two","org":"hurried","scopes":["read"]}`)}
	before := s.Upstream.Hits()
	statuses := s.flood(1000, func(i int) *http.Request { return s.to("GET", "/public/x", keys[i%2].bearer()) })
	if hits := s.Upstream.Hits() - before; hits != 100 || statuses[200] != 100 || statuses[429] != 900 {
		s.t.Errorf("%d reached the upstream, statuses %v", hits, statuses)
	}
}

// tablesAtTheirBounds sends requests from ever more addresses, with keys and
// signatures that are none: what is remembered of them is bounded, and locks and
// good keys go on working.
func tablesAtTheirBounds(s *scene) {
	s.Load(trustingStrict, strings.Replace(behindLockout("j02", "refused 100 in 1h"), "on refused", "on request 100 in 1h\non refused", 1))
	attacker := "X-Forwarded-For: 198.51.100.7"
	for range 100 {
		s.get("/public/x", attacker, "X-API-Key: junk")()
	}
	s.refused("the attacker", s.get("/public/x", attacker, s.reader.bearer()), http.StatusTooManyRequests)
	var n atomic.Int64
	one := func(int) *http.Request {
		i := n.Add(1)
		from := fmt.Sprintf("X-Forwarded-For: 2001:db8:%x:%x::%x", i>>16, i&0xffff, i)
		if i%2 == 0 {
			return s.to("GET", "/public/x", from, "Authorization: Bearer "+withSum(randomBody()))
		}
		return s.to("GET", "/public/x", from, fmt.Sprintf(`Authorization: Hawk id="key_%d", ts="%d", nonce="n%d", mac="6R4rV5iE+NPoym+WwjeHzjAGXUtLNIxmo1vpMofpLAE="`, i, time.Now().Unix(), i))
	}
	s.flood(500, one)
	before := heap()
	const many = 20_000
	if statuses := s.flood(many, one); len(statuses) != 1 || statuses[http.StatusUnauthorized] != many {
		s.t.Errorf("statuses %v", statuses)
	}
	s.settles("bytes of heap", before+16<<20, heap)
	s.refused("the attacker", s.get("/public/x", attacker, s.reader.bearer()), http.StatusTooManyRequests)
	s.accepted("a good key", s.get("/public/x", "X-Forwarded-For: 198.51.100.8", s.reader.bearer()))
}

// ownTooManyRequests is what L07 says of our own 429: a time to wait and no
// challenge; and an upstream's refusals lock nobody.
func ownTooManyRequests(s *scene) {
	s.Load(trustingStrict, behindLockout("l07", "429 3 in 1m\non 401 3 in 1m\non 403 3 in 1m\non refused 3 in 1m"))
	client := "X-Forwarded-For: 198.51.100.7"
	for _, status := range []string{"401 Unauthorized", "403 Forbidden", "429 Too Many Requests"} {
		s.Upstream.Respond("HTTP/1.1 " + status + "\r\nContent-Length: 3\r\n\r\nown")
		for range 10 {
			if answer := s.Get("/public/x", client, s.reader.bearer()); !strings.HasPrefix(status, fmt.Sprint(answer.Status)) || string(answer.Body) != "own" {
				s.t.Fatalf("%s of the upstream became %d", status, answer.Status)
			}
		}
	}
	s.Upstream.Respond("")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { s.get("/public/x", client, "X-API-Key: junk")() })
	}
	wg.Wait()
	answer := s.refused("locked out", s.get("/public/x", client, s.reader.bearer()), http.StatusTooManyRequests)
	if answer.Header.Get("Retry-After") == "" || answer.Header.Get("Cache-Control") != "no-store" || answer.Header["Www-Authenticate"] != nil {
		s.t.Errorf("429 with %v", answer.Header)
	}
}
