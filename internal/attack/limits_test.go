package attack

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// limitedSite has rules of other costs than 1.
const limitedSite = `
@cheap  path /cheap/*
@export path /export
api_key {
	require * read
	require @cheap {
		cost 0
	}
	require @export {
		cost 10
	}
}
reverse_proxy {$UPSTREAM}`

// left returns what is left of a limit of a key or org, -1 if it has none.
func (s *scene) left(path, limit string) int {
	s.t.Helper()
	answer := s.Manage("GET", path+"/limits", "")
	if answer.Status != http.StatusOK {
		s.t.Fatalf("%s: status %d: %s", path, answer.Status, answer.Body)
	}
	for _, item := range answer.JSON(s.t)["limits"].([]any) {
		if item := item.(map[string]any); item["limit"] == limit {
			return int(item["remaining"].(float64))
		}
	}
	return -1
}

// spends checks how much of a limit of a key something costs.
func (s *scene) spends(what, key, limit string, units int, do func()) {
	s.t.Helper()
	before := s.left("/keys/"+key, limit)
	do()
	if spent := before - s.left("/keys/"+key, limit); spent != units {
		s.t.Errorf("%s: %d units are spent, want %d", what, spent, units)
	}
}

// together sends n requests at the same time and returns how many were accepted. What
// is not accepted must be a 429.
func (s *scene) together(n int, send func(i int) (int, error)) int {
	s.t.Helper()
	var accepted atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			switch status, err := send(i); {
			case err != nil:
				s.t.Errorf("no answer: %v", err)
			case status == http.StatusOK:
				accepted.Add(1)
			case status != http.StatusTooManyRequests:
				s.t.Errorf("status %d", status)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(accepted.Load())
}

// sender sends GETs by a client of its own.
func (s *scene) sender(client *http.Client, path string, key caller) (int, error) {
	req, err := http.NewRequest("GET", "http://"+s.Site+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+key.token)
	answer, err := rig.Read(client.Do(req))
	return answer.Status, err
}

// exactlyWhatIsLeft sends a thousand requests at once on a hundred units, of a
// window, of a quota and of an org's quota, over HTTP/1.1 and HTTP/2.
func exactlyWhatIsLeft(s *scene) {
	rig.AwaitRoom(s.t, 24*time.Hour)
	s.load(limitedSite)
	s.Manage("PUT", "/orgs/f06", `{"limits":["100/month"]}`)
	h1 := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64}, Timeout: time.Minute}
	defer h1.CloseIdleConnections()
	for _, c := range []struct{ what, spec, path, limit string }{
		{"a window", `"limits":["103/1h"]`, "", "103/1h"},
		{"a quota", `"limits":["103/day"]`, "", "103/day"},
		{"several", `"limits":["5000/1h","103/month","1000/day"]`, "", "103/month"},
		{"an org's quota", `"org":"f06","limits":["5000/1h"]`, "/orgs/f06", "100/month"},
	} {
		key := s.key(`{"name":"F06","scopes":["read"],` + c.spec + `}`)
		if c.path == "" {
			c.path = "/keys/" + key.id
			for range 3 {
				s.accepted("one of three", s.get("/x", key.bearer()))
			}
		}
		hits := s.Upstream.Hits()
		if n := s.together(1000, func(int) (int, error) { return s.sender(h1, "/x", key) }); n != 100 {
			s.t.Errorf("%s: %d of 1000 were accepted on 100 left", c.what, n)
		}
		if n := s.Upstream.Hits() - hits; n != 100 {
			s.t.Errorf("%s: %d reached the upstream", c.what, n)
		}
		if n := s.left(c.path, c.limit); n != 0 {
			s.t.Errorf("%s: %d left", c.what, n)
		}
	}
}

// limits are attacks on what keys and orgs may spend.
var limits = []attack{
	{"F06_more_at_once_than_is_left", exactlyWhatIsLeft},
	{"N21_spending_what_somebody_else_has", func(s *scene) {
		rig.AwaitRoom(s.t, 24*time.Hour)
		s.load(limitedSite)
		victim := s.key(`{"name":"victim","scopes":["read"],"limits":["100/1h","100/day"]}`)
		s.spends("strangers", victim.id, "100/1h", 0, func() {
			for _, headers := range [][]string{
				{"Authorization: Bearer " + victim.token + "x"}, {"Authorization: Bearer " + victim.id}, {"X-API-Key: " + victim.id},
				{`Authorization: Hawk id="` + victim.id + `", ts="1", nonce="a", mac="AAAA"`}, {"Authorization: Basic " + victim.id},
				{victim.bearer(), victim.header()}, {"X-Key-Id: " + victim.id},
			} {
				answer := s.refused(headers[0][:20], s.get("/x", headers...), http.StatusUnauthorized, http.StatusBadRequest)
				if answer.Header.Get("RateLimit") != "" || answer.Header.Get("RateLimit-Policy") != "" {
					s.t.Errorf("a stranger is told of limits: %v", answer.Header)
				}
			}
		})
	}},
	{"N22_refusals_for_other_reasons", func(s *scene) {
		s.load(limitedSite)
		bound := s.key(`{"name":"bound","scopes":["read"],"allow":["10.0.0.0/8"],"limits":["100/1h"]}`)
		poor := s.key(`{"name":"poor","scopes":["other"],"limits":["100/1h"]}`)
		s.spends("the wrong address", bound.id, "100/1h", 0, func() {
			s.refused("the wrong address", s.get("/x", bound.bearer()), http.StatusForbidden)
		})
		s.spends("a scope that is missing", poor.id, "100/1h", 0, func() {
			s.refused("the scope", s.get("/x", poor.bearer()), http.StatusForbidden)
			s.refused("the path", s.raw("GET /x/../y HTTP/1.1", poor.bearer()), http.StatusBadRequest)
			s.refused("early data", s.get("/x", poor.bearer(), "Early-Data: 1"), http.StatusTooEarly)
		})
	}},
	{"N23_replays", func(s *scene) {
		k := s.signer(signedSite)
		s.Manage("PATCH", "/keys/"+k.id, `{"limits":["100/1h"]}`)
		k.schemes(func(name string, by hmacsig.Signer) {
			req := k.signed(by, "POST", "/x", "hello", time.Now())
			s.spends(name, k.id, "100/1h", 1, func() {
				s.accepted(name, s.copyOf(req, "hello"))
				for range 5 {
					s.refused(name+" again", s.copyOf(req, "hello"), http.StatusUnauthorized)
				}
				s.refused(name+" with another body", s.copyOf(k.signed(by, "POST", "/x", "hello", time.Now()), "other"), http.StatusUnauthorized)
			})
		})
	}},
	{"N24_beginning_anew", func(s *scene) {
		rig.AwaitRoom(s.t, 24*time.Hour)
		s.load(limitedSite)
		s.Manage("PUT", "/orgs/n24a", `{}`)
		s.Manage("PUT", "/orgs/n24b", `{}`)
		id, token := s.Create(`{"name":"spent","org":"n24a","scopes":["read"],"limits":["2/1h","2/month"]}`)
		key := caller{id, token}
		s.secrets = append(s.secrets, token)
		exhaust := func() {
			for range 2 {
				s.get("/x", key.bearer())()
			}
		}
		exhaust()
		path := "/keys/" + id
		for _, c := range [][3]string{
			{"PATCH", path, `{"org":"n24b"}`}, {"PATCH", path, `{"org":"n24a"}`}, {"PATCH", path, `{"org":""}`},
			{"POST", path + "/suspend", ""}, {"POST", path + "/resume", ""},
			{"PATCH", path, `{"limits":[]}`}, {"PATCH", path, `{"limits":["2/month","2/1h"]}`},
			{"PATCH", path, `{"limits":["1/1h"]}`}, {"PATCH", path, `{"limits":["2/60m"]}`}, {"PATCH", path, `{"tier":"x"}`},
		} {
			if answer := s.Manage(c[0], c[1], c[2]); answer.Status != http.StatusOK {
				s.t.Fatalf("%v: %d %s", c, answer.Status, answer.Body)
			}
			if c[1] != path+"/suspend" && c[2] != `{"limits":[]}` {
				s.refused(fmt.Sprint(c), s.get("/x", key.bearer()), http.StatusTooManyRequests)
			}
		}
		rotated := s.Manage("POST", path+"/rotate", "").JSON(s.t)["token"].(string)
		added := s.Manage("POST", path+"/credentials", "").JSON(s.t)["token"].(string)
		s.secrets = append(s.secrets, rotated, added)
		for _, token := range []string{rotated, added} {
			s.refused("another token", s.get("/x", "X-API-Key: "+token), http.StatusTooManyRequests)
		}
		s.load(limitedSite)
		s.refused("after a reload", s.get("/x", key.bearer()), http.StatusTooManyRequests)
	}},
	{"N25_a_key_that_is_made_again", func(s *scene) {
		rig.AwaitRoom(s.t, 24*time.Hour)
		s.load(limitedSite)
		s.Manage("PUT", "/orgs/n25", `{"limits":["3/day"]}`)
		accepted := 0
		for range 4 {
			key := s.key(`{"name":"again","org":"n25","scopes":["read"],"limits":["2/day"]}`)
			for range 3 {
				if s.get("/x", key.bearer())().Status == http.StatusOK {
					accepted++
				}
			}
			s.Manage("POST", "/keys/"+key.id+"/revoke", "")
			s.Manage("DELETE", "/keys/"+key.id, "")
		}
		if accepted != 3 {
			s.t.Errorf("%d accepted with new keys of an org that has 3", accepted)
		}
		s.Manage("POST", "/orgs/n25/suspend", "")
		s.Manage("POST", "/orgs/n25/resume", "")
		s.Manage("PUT", "/orgs/n25", `{"limits":["3/day"]}`)
		if n := s.left("/orgs/n25", "3/day"); n != 0 {
			s.t.Errorf("%d left after the org was written again", n)
		}
	}},
	{"N26_cheaper_than_the_rule_says", func(s *scene) {
		s.load(limitedSite)
		key := s.key(`{"name":"cheap","scopes":["read"],"limits":["1000/1h"]}`)
		for _, c := range []struct {
			method, path string
			headers      []string
			units        int
		}{
			{"GET", "/cheap/x", nil, 0},
			{"GET", "/CHEAP/x", nil, 1},
			{"GET", "/cheap", nil, 1},
			{"GET", "/export", nil, 10},
			{"HEAD", "/export", nil, 10},
			{"OPTIONS", "/export", nil, 10},
			{"GET", "/EXPORT", nil, 10},
			{"GET", "/x?path=/cheap/x", nil, 1},
			{"GET", "/export", []string{"X-Original-URL: /cheap/x", "X-Rewrite-URL: /cheap/x", "X-Forwarded-Uri: /cheap/x"}, 10},
			{"GET", "/export", []string{"Cost: 0", "RateLimit: \"1h\";r=1000", "RateLimit-Policy: \"1h\";q=0", "X-RateLimit-Remaining: 1000"}, 10},
			{"GET", "/export", []string{"Range: bytes=0-0", "If-None-Match: *", "Cache-Control: only-if-cached"}, 10},
		} {
			what := c.method + " " + c.path + fmt.Sprint(c.headers)
			s.spends(what, key.id, "1000/1h", c.units, func() {
				s.request(c.method, c.path, append(c.headers, key.bearer())...)()
			})
		}
	}},
	{"N27_limits_out_of_bounds", func(s *scene) {
		key := s.key(`{"name":"x","scopes":["read"],"limits":["5/1h"]}`)
		for _, limits := range []string{
			`["0/1h"]`, `["-1/1h"]`, `["+1/1h"]`, `["1e9/1h"]`, `["18446744073709551617/day"]`, `["4294967297/1h"]`, `["1000000001/1h"]`, `["1000000000001/month"]`,
			`["1/0s"]`, `["1/-1s"]`, `["1/99999999999999999999s"]`, `["1/2678401s"]`, `["1/9223372037h"]`, `["1/1s "]`, `["1/year"]`, `["1/day","2/day"]`, `["1/1h","1/60m"]`,
			`["1/1s","1/2s","1/3s","1/4s","1/5s","1/6s","1/7s","1/8s","1/9s"]`, `"5/1h"`, `null`, `[5]`, `[null]`, `[["5/1h"]]`, `{"1h":5}`, `["5/1h\u0000"]`, `["５/1h"]`,
		} {
			for _, c := range [][2]string{{"PATCH", "/keys/" + key.id}, {"POST", "/keys"}, {"PUT", "/orgs/n27"}} {
				body := `{"limits":` + limits + `}`
				if c[1] == "/keys" {
					body = `{"name":"x","limits":` + limits + `}`
				}
				if answer := s.Manage(c[0], c[1], body); answer.Status != http.StatusBadRequest {
					s.t.Errorf("%s %s %s: status %d", c[0], c[1], limits, answer.Status)
				}
			}
		}
		if n := s.left("/keys/"+key.id, "5/1h"); n != 5 {
			s.t.Errorf("%d left", n)
		}
		if answer := s.Manage("PUT", "/orgs/n27", `{"limits":["5/1h"]}`); answer.Status != http.StatusCreated {
			s.t.Errorf("%d %s", answer.Status, answer.Body)
		}
		if answer := s.Manage("PUT", "/orgs/n27", `{"title":"x"}`); answer.Status != http.StatusBadRequest {
			s.t.Errorf("limits are lost by leaving them out: %d", answer.Status)
		}
	}},
	{"N28_requests_that_are_given_up", func(s *scene) {
		rig.AwaitRoom(s.t, 24*time.Hour)
		s.load(limitedSite)
		key := s.key(`{"name":"impatient","scopes":["read"],"limits":["50/1h","50/day"]}`)
		hits := s.Upstream.Hits()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(s.t.Context(), time.Duration(i)*100*time.Microsecond)
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+s.Site+"/x", nil)
				req.Header.Set("Authorization", "Bearer "+key.token)
				_, _ = rig.Read(http.DefaultClient.Do(req))
			})
		}
		wg.Wait()
		for s.get("/x", key.bearer())().Status == http.StatusOK {
		}
		if n := s.Upstream.Hits() - hits; n > 50 {
			s.t.Errorf("%d reached the upstream", n)
		}
		if n := s.left("/keys/"+key.id, "50/day"); n != 0 {
			s.t.Errorf("%d left", n)
		}
	}},
	{"N29_streams_of_one_connection", func(s *scene) {
		rig.AwaitRoom(s.t, 24*time.Hour)
		s.load(limitedSite)
		key := s.key(`{"name":"streams","scopes":["read"],"limits":["40/1h","40/day"]}`)
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		client := &http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: time.Minute}
		defer client.CloseIdleConnections()
		if _, err := s.sender(client, "/x", key); err != nil {
			s.t.Skipf("no HTTP/2 without TLS: %v", err)
		}
		if n := s.together(200, func(int) (int, error) { return s.sender(client, "/x", key) }); n != 39 {
			s.t.Errorf("%d accepted on 39 left", n)
		}
	}},
	{"N30_by_another_site_or_place", func(s *scene) {
		s.load("handle /a/* {\napi_key {\nfrom query api_key\nrequire * read\n}\nreverse_proxy {$UPSTREAM}\n}\nhandle {\n" + limitedSite + "\n}")
		key := s.key(`{"name":"both","scopes":["read"],"limits":["2/1h"]}`)
		s.accepted("one site", s.get("/a/x?"+key.query()))
		s.accepted("the other one", s.get("/x", key.header()))
		s.refused("one site", s.get("/a/x?"+key.query()), http.StatusTooManyRequests)
		s.refused("the other one", s.get("/x", key.bearer()), http.StatusTooManyRequests)
	}},
	{"N31_strangers_fill_the_table", func(s *scene) {
		s.load(limitedSite)
		before := s.carriers()
		statuses := s.flood(2000, func(i int) *http.Request {
			return s.to("GET", "/x", "Authorization: Bearer "+withSum(randomBody()), "X-Forwarded-For: 198.51.100."+strconv.Itoa(i%256))
		})
		if len(statuses) != 1 || statuses[http.StatusUnauthorized] != 2000 {
			s.t.Errorf("statuses %v", statuses)
		}
		for range 50 {
			s.get("/x", s.reader.bearer())()
		}
		if after := s.carriers(); after != before {
			s.t.Errorf("%d carriers, %d before", after, before)
		}
	}},
	{"J02_tables", func(s *scene) {
		k := s.signer(signedSite)
		s.Load(trustingStrict, behindLockout("j02", "refused 5 in 1m"))
		s.Manage("PATCH", "/keys/"+k.id, `{"limits":["100000/1h"]}`)
		before := s.carriers()
		statuses := s.flood(1500, func(i int) *http.Request {
			req := k.signed(k.hawk, "GET", "/public/x", "", time.Now())
			req.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.1", i/256, i%256))
			return req
		})
		if len(statuses) != 1 || statuses[http.StatusOK] != 1500 {
			s.t.Errorf("statuses %v", statuses)
		}
		if after := s.carriers(); after != before+1 {
			s.t.Errorf("%d carriers, %d before: one key was used", after, before)
		}
		if n := s.left("/keys/"+k.id, "100000/1h"); n != 98_500 {
			s.t.Errorf("%d left", n)
		}
	}},
	{"N33_a_tier_lost_by_leaving_it_out", func(s *scene) {
		s.Load(fmt.Sprintf("api_keys {\nstore bolt %s\ntier small {\nlimit 2/1h\norg_limit 3/1h\n}\n}", s.StorePath()), limitedSite)
		s.managed("PUT", "/orgs/tiered", `{"tier":"small"}`)
		one := s.key(`{"name":"one","org":"tiered","scopes":["read"]}`)
		s.unmanaged("a PUT without the tier", "PUT", "/orgs/tiered", `{"title":"Tiered"}`, http.StatusBadRequest)
		for range 2 {
			s.accepted("within the tier's limit", s.get("/x", one.bearer()))
		}
		s.refused("beyond it", s.get("/x", one.bearer()), http.StatusTooManyRequests)
		s.managed("PUT", "/orgs/tiered", `{"tier":""}`)
		s.accepted("without a tier", s.get("/x", one.bearer()))
	}},
	{"N32_a_body_that_stalls", func(s *scene) {
		s.load(limitedSite)
		key := s.key(`{"name":"slow","scopes":["read"],"limits":["1/1h"]}`)
		s.accepted("the last one", s.get("/x", key.bearer()))
		conn, err := net.Dial("tcp", s.Site)
		if err != nil {
			s.t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(conn, "POST /x HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Length: 100000\r\n\r\nx", s.Site, key.bearer())
		answer, err := io.ReadAll(conn) // to the end: the connection is closed
		if err != nil && len(answer) == 0 || !strings.HasPrefix(string(answer), "HTTP/1.1 429 ") {
			s.t.Errorf("%.60q, %v", answer, err)
		}
	}},
}

var carrierMetric = regexp.MustCompile(`(?m)^caddy_api_keys_limit_carriers\{kind="\w+"\} (\d+)$`)

// carriers returns for how many keys and orgs it is counted what they spend.
func (s *scene) carriers() (n int) {
	s.t.Helper()
	answer, err := rig.Read(http.Get("http://" + s.Admin + "/metrics"))
	if err != nil {
		s.t.Fatal(err)
	}
	found := carrierMetric.FindAllStringSubmatch(string(answer.Body), -1)
	if len(found) != 2 {
		s.t.Fatalf("the metric: %v", found)
	}
	for _, m := range found {
		value, _ := strconv.Atoi(m[1])
		n += value
	}
	return n
}
