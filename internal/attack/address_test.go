package attack

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// Global options that trust the test as a proxy: entries of X-Forwarded-For are
// read from the left, or, strictly, from the right.
const (
	trusting       = "servers {\ntrusted_proxies static 127.0.0.0/8 203.0.113.0/24\n}"
	trustingStrict = "servers {\ntrusted_proxies static 127.0.0.0/8 203.0.113.0/24\ntrusted_proxies_strict\n}"
)

// claims are headers that say where a request comes from.
var claims = []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "Fastly-Client-IP", "X-Envoy-External-Address", "X_Forwarded_For"}

// addresses is class D: a request that seems to come from somewhere else.
var addresses = []attack{
	{"D01_claims_of_a_stranger", func(s *scene) {
		for _, name := range claims {
			for _, value := range []string{"10.1.2.3", "for=10.1.2.3", "127.0.0.1, 10.1.2.3", "10.1.2.3, 127.0.0.1", "10.1.2.3:80", "::ffff:10.1.2.3", strings.Repeat("10.1.2.3, ", 1000) + "10.1.2.3"} {
				s.refused(name, s.get("/public/x", s.bound.bearer(), name+": "+value), http.StatusForbidden)
			}
			s.refused(name+" on many lines", s.raw("GET /public/x HTTP/1.1", append(repeated(name+": 10.1.2.3", 50), s.bound.bearer())...), http.StatusForbidden)
		}
		var all []string
		for _, name := range claims {
			all = append(all, name+": 10.1.2.3")
		}
		s.refused("all", s.raw("GET /public/x HTTP/1.1", append(all, s.bound.bearer())...), http.StatusForbidden)
		s.recorded("127.0.0.1", func() {
			s.refused("recorded", s.get("/public/x", append(all, s.bound.bearer())...), http.StatusForbidden)
		})
		denied := s.key(`{"name":"denied","scopes":["read"],"deny":["127.0.0.0/8"]}`)
		s.refused("out of a deny list", s.get("/public/x", append(all, denied.bearer())...), http.StatusForbidden)
	}},
	{"D02_client_behind_a_proxy", func(s *scene) {
		denied := s.key(`{"name":"denied","scopes":["read"],"deny":["198.51.100.0/24"]}`)
		for _, global := range []string{trusting, trustingStrict} {
			s.Load(global, site)
			s.refused("denied client", s.get("/public/x", denied.bearer(), "X-Forwarded-For: 198.51.100.7"), http.StatusForbidden)
			s.refused("denied client behind two", s.get("/public/x", denied.bearer(), "X-Forwarded-For: 198.51.100.7, 203.0.113.1"), http.StatusForbidden)
			s.refused("a client out of the allow list", s.get("/public/x", s.bound.bearer(), "X-Forwarded-For: 198.51.100.7"), http.StatusForbidden)
			s.accepted("allowed client", s.get("/public/x", s.bound.bearer(), "X-Forwarded-For: 10.1.2.3"))
			s.accepted("client not denied", s.get("/public/x", denied.bearer(), "X-Forwarded-For: 192.0.2.1"))
			s.recorded("198.51.100.7", func() {
				s.refused("recorded", s.get("/public/x", denied.bearer(), "X-Forwarded-For: 198.51.100.7"), http.StatusForbidden)
			})
		}
		for _, lines := range [][]string{{"10.1.2.3, 198.51.100.7"}, {"10.1.2.3", "198.51.100.7"}, {"10.1.2.3, 198.51.100.7, 203.0.113.1"}, {"10.1.2.3, 203.0.113.1, 198.51.100.7"}} {
			var headers []string
			for _, line := range lines {
				headers = append(headers, "X-Forwarded-For: "+line)
			}
			s.refused("left by an attacker", s.raw("GET /public/x HTTP/1.1", append(headers, s.bound.bearer())...), http.StatusForbidden)
			s.refused("hidden from a deny list", s.raw("GET /public/x HTTP/1.1", append(headers, denied.bearer())...), http.StatusForbidden)
		}
	}},
	{"D03_mapped_addresses", func(s *scene) {
		denied := s.key(`{"name":"denied","scopes":["read"],"deny":["10.0.0.0/8"]}`)
		mapped := s.key(`{"name":"mapped","scopes":["read"],"allow":["::ffff:10.0.0.0/104"]}`)
		for _, global := range []string{trusting, trustingStrict} {
			s.Load(global, site)
			for _, form := range []string{"10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203", "0:0:0:0:0:ffff:0a01:0203", "[::ffff:10.1.2.3]:8080", "::FFFF:10.1.2.3", "10.1.2.3:99"} {
				s.accepted("allowed "+form, s.get("/public/x", s.bound.bearer(), "X-Forwarded-For: "+form))
				s.accepted("allowed by a mapped prefix "+form, s.get("/public/x", mapped.bearer(), "X-Forwarded-For: "+form))
				s.refused("denied "+form, s.get("/public/x", denied.bearer(), "X-Forwarded-For: "+form), http.StatusForbidden)
			}
			for _, form := range []string{"::10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::", "::ffff:0:10.1.2.3"} {
				s.refused("another address "+form, s.get("/public/x", s.bound.bearer(), "X-Forwarded-For: "+form), http.StatusForbidden)
			}
		}
	}},
	{"D04_entries_of_lists", func(s *scene) {
		for _, entry := range []string{"10.0.0.5/8", "010.0.0.0/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/", "/8", "fe80::1%eth0", "fe80::%25eth0/64", "10.0.0.1-9", "", " ", "10.0.0.0/8 ", " 10.0.0.0/8", "10.0.0.0/8,192.0.2.1",
			"10.*", "*", "0x0a.0.0.1", "10.1", "167772161", "::ffff:0:0/95", "::ffff:10.1.2.3/104", "::/129", "[::1]", "10.0.0.0/255.0.0.0", "localhost", "private_ranges", "10.0.0.0\\u0000/8", "１０.0.0.0/8", "10.0.0.1:80", "::1/64", "{env.HOME}", "10.0.0.0//8", "+10.0.0.1"} {
			for _, list := range []string{"allow", "deny"} {
				s.unmanaged(list+" "+entry, "POST", "/keys", fmt.Sprintf(`{"name":"x",%q:["%s"]}`, list, entry), http.StatusBadRequest)
				s.unmanaged(list+" "+entry+" behind a good one", "PATCH", "/keys/"+s.bound.id, fmt.Sprintf(`{%q:["10.0.0.0/8","%s"]}`, list, entry), http.StatusBadRequest)
			}
		}
		for _, value := range []string{`"10.0.0.0/8"`, `[null]`, `[10]`, `[["10.0.0.0/8"]]`, `{"0":"10.0.0.0/8"}`, `[true]`, `0`} {
			s.unmanaged(value, "POST", "/keys", `{"name":"x","allow":`+value+`}`, http.StatusBadRequest)
		}
		shown := s.managed("GET", "/keys/"+s.key(`{"name":"mapped","allow":["::ffff:10.0.0.0/104","::ffff:192.0.2.1","192.0.2.1"]}`).id, "")
		if !strings.Contains(shown, `"allow":["10.0.0.0/8","192.0.2.1"]`) && !strings.Contains(shown, `"allow":["10.0.0.0/8","192.0.2.1/32"]`) {
			s.t.Errorf("a mapped prefix is shown in another form: %s", shown)
		}
	}},
	{"D05_broken_headers_of_a_proxy", func(s *scene) {
		local := s.key(`{"name":"local","scopes":["read"],"allow":["127.0.0.0/8","::1","203.0.113.0/24"]}`)
		denied := s.key(`{"name":"denied","scopes":["read"],"deny":["198.51.100.0/24"]}`)
		for _, global := range []string{trusting, trustingStrict} {
			s.Load(global, site)
			s.accepted("the proxy itself", s.get("/public/x", local.bearer()))
			for _, value := range []string{"garbage", "010.1.2.3", "", " ", ",", ", ,", "unknown", "_hidden", "for=10.1.2.3", "10.1.2.3/8", "10.1.2", "0x7f.0.0.1", "127.1", "2130706433", "::ffff:10.1.2.3.4", "10.1.2.3:80:80", "[10.1.2.3", "10.1.2.3]",
				"127.0.0.1.", "localhost", "１２７.0.0.1", "\"127.0.0.1\"", "unknown, 127.0.0.1", "garbage, 203.0.113.1", "null, ,"} {
				s.refused(fmt.Sprintf("the proxy's own address by %q", value), s.raw("GET /public/x HTTP/1.1", "X-Forwarded-For: "+value, local.bearer()), http.StatusForbidden)
				s.refused(fmt.Sprintf("out of a deny list by %q", value), s.raw("GET /public/x HTTP/1.1", "X-Forwarded-For: "+value, denied.bearer()), http.StatusForbidden)
			}
			s.recorded("unknown", func() {
				s.refused("recorded", s.get("/public/x", local.bearer(), "X-Forwarded-For: garbage"), http.StatusForbidden)
			})
		}
		s.refused("only proxies", s.get("/public/x", local.bearer(), "X-Forwarded-For: 203.0.113.1"), http.StatusForbidden)
	}},
	{"D06_guesses_by_all_ways", guessesByAllWays},
	{"D07_guesses_from_many_addresses", guessesFromManyAddresses},
	{"D08_early_data", earlyData},
	{"D09_emptied_lists", func(s *scene) {
		s.Load(trusting, site)
		browser := s.key(`{"name":"browser","scopes":["read"],"origins":["https://app.example"]}`)
		for _, body := range []string{`{"allow":[]}`, `{"allow":null}`, `{"allow":[],"allow_anyone":false}`, `{"allow":[],"allow_anyone":null}`, `{"allow":[],"allow_anyone":"true"}`, `{"allow":{}}`, `{"allow":""}`, `{"allow":[],"deny":["192.0.2.1"]}`, `{"allow":[],"ALLOW_ANYONE":true}`, `{"allow":[""]}`} {
			s.unmanaged(body, "PATCH", "/keys/"+s.bound.id, body, http.StatusBadRequest)
			s.unmanaged(body, "PATCH", "/keys/"+browser.id, strings.Replace(body, `"allow":`, `"origins":`, 1), http.StatusBadRequest)
		}
		for _, body := range []string{`{}`, `{"name":"other"}`, `{"allow_anyone":true}`, `{"deny":[]}`, `{"scopes":["read"],"metadata":{}}`} {
			s.managed("PATCH", "/keys/"+s.bound.id, body)
		}
		s.refused("still these only", s.get("/public/x", s.bound.bearer()), http.StatusForbidden)
		s.refused("still this origin only", s.get("/public/x", browser.bearer()), http.StatusForbidden)

		s.managed("PUT", "/orgs/acme", `{"allow":["10.0.0.0/8"],"deny":["10.9.0.0/16"]}`)
		member := s.key(`{"name":"member","org":"acme","scopes":["read"]}`)
		for _, body := range []string{`{}`, `{"title":"Acme"}`, `{"allow":[],"deny":[]}`, `{"allow":null}`, `{"allow":[]}`, `{"allow":[],"allow_anyone":false}`, `{"allow":["10.0.0.0/8"]}`} {
			s.unmanaged("PUT "+body, "PUT", "/orgs/acme", body, http.StatusBadRequest)
		}
		for _, body := range []string{`{"allow":[]}`, `{"allow":null}`, `{"allow":[],"allow_anyone":false}`} {
			s.unmanaged("PATCH "+body, "PATCH", "/orgs/acme", body, http.StatusBadRequest)
		}
		s.unmanaged("leaving the org", "PATCH", "/keys/"+member.id, `{"org":""}`, http.StatusBadRequest)
		s.refused("still the org's", s.get("/public/x", member.bearer()), http.StatusForbidden)
		s.managed("PATCH", "/keys/"+s.bound.id, `{"allow":[],"allow_anyone":true}`)
		s.accepted("with the flag", s.get("/public/x", s.bound.bearer()))
	}},

	{"D21_entries_with_tails", func(s *scene) {
		for _, global := range []string{trusting, trustingStrict} {
			s.Load(global, site)
			for _, value := range []string{"10.1.2.3\x00", "10.1.2.3;198.51.100.7", "10.1.2.3 198.51.100.7", "10.1.2.3#", "10.1.2.3%0a", "10.1.2.3\x0b,198.51.100.7", "10.1.2.3%00,198.51.100.7"} {
				s.refused(fmt.Sprintf("%q", value), s.raw("GET /public/x HTTP/1.1", "X-Forwarded-For: "+value, s.bound.bearer()), ambiguous...)
			}
		}
	}},
	{"D22_zones", func(s *scene) {
		zoned := s.key(`{"name":"zoned","scopes":["read"],"deny":["fe80::/10"]}`)
		for _, global := range []string{trusting, trustingStrict} {
			s.Load(global, site)
			for _, value := range []string{"fe80::1%eth0", "fe80::1%25eth0", "fe80::1%", "[fe80::1%lo]:80", "fe80::1"} {
				s.refused("denied "+value, s.raw("GET /public/x HTTP/1.1", "X-Forwarded-For: "+value, zoned.bearer()), http.StatusForbidden)
			}
		}
	}},
	{"D23_org_and_key_lists", func(s *scene) {
		s.Load(trusting, site)
		s.managed("PUT", "/orgs/narrow", `{"allow":["10.0.0.0/8"],"deny":["10.9.0.0/16"]}`)
		for what, spec := range map[string]string{"wider": `"allow":["0.0.0.0/0","::/0"]`, "other": `"allow":["198.51.100.0/24"]`, "none": `"deny":[]`} {
			k := s.key(`{"name":"member","org":"narrow","scopes":["read"],` + spec + `}`)
			s.refused(what+", outside the org's", s.get("/public/x", k.bearer(), "X-Forwarded-For: 198.51.100.7"), http.StatusForbidden)
			s.refused(what+", denied by the org", s.get("/public/x", k.bearer(), "X-Forwarded-For: 10.9.1.1"), http.StatusForbidden)
		}
		both := s.key(`{"name":"both","scopes":["read"],"allow":["10.1.2.3"],"deny":["10.1.2.0/24"]}`)
		s.refused("deny wins over a longer allow", s.get("/public/x", both.bearer(), "X-Forwarded-For: 10.1.2.3"), http.StatusForbidden)
	}},
	{"D24_moves_between_orgs", func(s *scene) {
		s.Load(trusting, site)
		s.managed("PUT", "/orgs/bound", `{"allow":["10.0.0.0/8"]}`)
		s.managed("PUT", "/orgs/open", `{}`)
		k := s.key(`{"name":"member","org":"bound","scopes":["read"]}`)
		for _, body := range []string{`{"org":"open"}`, `{"org":""}`, `{"org":"open","allow":[]}`, `{"org":"open","deny":["192.0.2.1"]}`, `{"org":"nowhere"}`, `{"org":"BOUND"}`, `{"org":"../open"}`} {
			s.unmanaged(body, "PATCH", "/keys/"+k.id, body, http.StatusBadRequest)
		}
		s.refused("still the org's", s.get("/public/x", k.bearer()), http.StatusForbidden)
	}},
	{"D25_long_lists", func(s *scene) {
		var b strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&b, `,"10.%d.%d.0/24"`, i/250, i%250)
		}
		long := s.key(`{"name":"long","scopes":["read"],"allow":[` + b.String()[1:] + `]}`)
		s.unmanaged("one more", "POST", "/keys", `{"name":"x","allow":["10.200.0.0/16"`+b.String()+`]}`, http.StatusBadRequest)
		s.Load(trusting, site)
		s.accepted("the last entry", s.get("/public/x", long.bearer(), "X-Forwarded-For: 10.3.249.255"))
		s.accepted("mapped", s.get("/public/x", long.bearer(), "X-Forwarded-For: ::ffff:10.0.0.1"))
		for _, other := range []string{"10.3.250.0", "10.4.0.1", "::10.0.0.1", "9.255.255.255", "a00::1", "garbage"} {
			s.refused(other, s.get("/public/x", long.bearer(), "X-Forwarded-For: "+other), http.StatusForbidden)
		}
	}},
	{"D26_everybody_by_prefix", func(s *scene) {
		v4 := s.key(`{"name":"v4","scopes":["read"],"allow":["0.0.0.0/0"]}`)
		v6 := s.key(`{"name":"v6","scopes":["read"],"allow":["::/0"]}`)
		s.accepted("v4", s.get("/public/x", v4.bearer()))
		s.refused("a v6 prefix has no v4 address", s.get("/public/x", v6.bearer()), http.StatusForbidden)
		s.Load(trusting, site)
		s.refused("an unknown address is in no prefix", s.get("/public/x", v4.bearer(), "X-Forwarded-For: garbage"), http.StatusForbidden)
		s.refused("nor in this", s.get("/public/x", v6.bearer(), "X-Forwarded-For: garbage"), http.StatusForbidden)
		s.refused("mapped is v4", s.get("/public/x", v6.bearer(), "X-Forwarded-For: ::ffff:10.1.2.3"), http.StatusForbidden)
	}},
	{"D27_other_headers_of_the_client", func(s *scene) {
		s.Load("servers {\ntrusted_proxies static 127.0.0.0/8\nclient_ip_headers CF-Connecting-IP X-Forwarded-For\n}", site)
		s.refused("the first header counts", s.get("/public/x", s.bound.bearer(), "CF-Connecting-IP: 198.51.100.7", "X-Forwarded-For: 10.1.2.3"), http.StatusForbidden)
		s.refused("a broken one is not skipped", s.get("/public/x", s.bound.bearer(), "CF-Connecting-IP: garbage", "X-Forwarded-For: 10.1.2.3"), http.StatusForbidden)
		s.refused("nor an empty one", s.raw("GET /public/x HTTP/1.1", "CF-Connecting-IP:", "X-Forwarded-For: 10.1.2.3", s.bound.bearer()), http.StatusForbidden)
		s.refused("alias", s.raw("GET /public/x HTTP/1.1", "CF_Connecting_IP: 10.1.2.3", "X_Forwarded_For: 10.1.2.3", s.bound.bearer()), http.StatusForbidden)
		s.accepted("the first", s.get("/public/x", s.bound.bearer(), "CF-Connecting-IP: 10.1.2.3", "X-Forwarded-For: 198.51.100.7"))
	}},
	{"D28_signed_and_in_other_places", func(s *scene) {
		k := s.signer(strings.Replace(site, "from bearer", "signature hawk message\nfrom bearer", 1))
		s.managed("PATCH", "/keys/"+k.id, `{"allow":["10.0.0.0/8"]}`)
		for _, line := range []string{s.bound.header(), s.bound.bearer()} {
			s.refused("header", s.get("/public/x", line), http.StatusForbidden)
		}
		s.refused("query", s.get("/public/x?"+s.bound.query()), http.StatusForbidden)
		s.refused("optional", s.get("/news/x", s.bound.bearer()), http.StatusForbidden)
		k.schemes(func(name string, by hmacsig.Signer) {
			s.refused(name, s.copyOf(k.signed(by, "GET", "/public/x", "", time.Now()), ""), http.StatusForbidden)
		})
	}},
	{"D29_guesses_at_once", guessesAtOnce},
	{"D30_lock_out_somebody_else", lockOutSomebodyElse},
	{"D31_requests_of_one_address", requestsOfOneAddress},
	{"D32_claims_before_zones", claimsBeforeZones},
	{"D33_bogus_keys_against_organisations", bogusKeysAgainstOrgs},
	{"D34_one_bucket_for_strangers", emptyBucket},
	{"D35_out_of_a_deny_list", outOfDenyList},
	{"D36_damaged_deny_lists", damagedDenyLists},
	{"D37_claimed_client_certificates", claimedCertificates},
	{"D38_deny_list_of_a_refused_configuration", denyListOfRefused},
}

func repeated(line string, n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = line
	}
	return lines
}

// recorded checks that what do logs has this address of the client, and no
// other.
func (s *scene) recorded(addr string, do func()) {
	s.t.Helper()
	before := len(s.Logs())
	do()
	if logged := s.Logs()[before:]; strings.Count(logged, `"client":`) != 1 || !strings.Contains(logged, `"client":"`+addr+`"`) {
		s.t.Errorf("recorded as another client than %s:\n%s", addr, s.mask(logged))
	}
}

// managed sends a management request that must succeed, and returns the answer.
func (s *scene) managed(method, path, body string) string {
	s.t.Helper()
	answer := s.Manage(method, path, body)
	if answer.Status < 200 || answer.Status > 299 {
		s.t.Errorf("%s %s %s: status %d: %s", method, path, body, answer.Status, answer.Body)
	}
	return string(answer.Body)
}

// unmanaged sends a management request that must be refused with one of the
// statuses, and checks that it changed no key and no org.
func (s *scene) unmanaged(what, method, path, body string, statuses ...int) rig.Answer {
	s.t.Helper()
	return s.unchanged(what, func() rig.Answer { return s.Manage(method, path, body) }, statuses...)
}

// unchanged is unmanaged for any way of sending.
func (s *scene) unchanged(what string, send func() rig.Answer, statuses ...int) rig.Answer {
	s.t.Helper()
	before := s.lastAction()
	answer := s.refused(fmt.Sprintf("%.200s", what), send, statuses...)
	if s.lastAction() != before {
		s.t.Errorf("%.200s: something was changed", what)
	}
	return answer
}

// lastAction is the newest entry of the trail: no key or org changes without one
// (T01), and to read all of them before and after each attack takes minutes.
func (s *scene) lastAction() string {
	s.t.Helper()
	answer := s.Manage("GET", "/audit?limit=1", "")
	if answer.Status != http.StatusOK {
		s.t.Errorf("reading the trail: %d %s", answer.Status, answer.Body)
	}
	return string(answer.Body)
}

// records are all keys and orgs.
func (s *scene) records() string {
	s.t.Helper()
	keys, after := "", ""
	for {
		answer := s.Manage("GET", "/keys?limit=500"+after, "")
		keys += string(answer.Body)
		next, more := answer.JSON(s.t)["next"].(string)
		if !more {
			return keys + string(s.Manage("GET", "/orgs?limit=500", "").Body)
		}
		after = "&after=" + next
	}
}

// earlyData is D08: requests in TLS early data, which an attacker can send again.
func earlyData(s *scene) {
	k := s.signer(strings.Replace(site, "from bearer", "signature hawk message\nfrom bearer", 1))
	open := s.key(`{"name":"local","scopes":["read"],"allow":["127.0.0.1"]}`)
	var mu sync.Mutex
	early := make(map[string]bool) // what came before the handshake was complete
	site, dial := s.resumableH3(func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		early[r.Header.Get("X-Try")] = !r.TLS.HandshakeComplete
	})
	s.Site = site
	try := 0
	// A request may come too late to be early, so each is tried until one was.
	check := func(what string, request func() *http.Request) {
		for range 50 {
			try++
			req, name := request(), fmt.Sprint(try)
			req.Header.Set("X-Try", name)
			before := s.Upstream.Hits()
			answer := s.send(dial(), req)()
			mu.Lock()
			wasEarly := early[name]
			mu.Unlock()
			if !wasEarly {
				continue
			}
			if answer.Status != http.StatusTooEarly || s.Upstream.Hits() != before {
				s.t.Errorf("%s in early data: status %d, want 425", what, answer.Status)
			}
			return
		}
		s.t.Errorf("%s: no request came as early data", what)
	}
	get := func(header string) func() *http.Request {
		return func() *http.Request {
			req, _ := http.NewRequest(http3.MethodGet0RTT, "https://"+site+"/public/x", nil)
			name, value, _ := strings.Cut(header, ": ")
			req.Header.Set(name, value)
			return req
		}
	}
	check("token", get(open.bearer()))
	check("token bound to other addresses", get(s.bound.bearer()))
	check("no key", get("X-A: 1"))
	k.schemes(func(name string, by hmacsig.Signer) {
		check(name, func() *http.Request {
			req := k.signed(by, "GET", "/public/x", "", time.Now())
			req.URL.Scheme, req.Method = "https", http3.MethodGet0RTT
			return req
		})
	})
	req, _ := http.NewRequest("GET", "https://"+site+"/public/x", nil)
	req.Header.Set("Authorization", "Bearer "+open.token)
	s.accepted("after the handshake", s.send(dial(), req))
}
