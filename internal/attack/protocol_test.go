package attack

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// protocol is class L: what HTTP itself offers to an attacker.
var protocol = []attack{
	{"L01_preflight", func(s *scene) {
		preflight := []string{"Origin: https://app.example", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization"}
		s.refused("not enabled", s.raw("OPTIONS /public/x HTTP/1.1", preflight...), http.StatusUnauthorized)
		s.load(strings.Replace(site, "api_key {", "api_key {\ncors", 1))
		s.key(`{"name":"page","scopes":["read"],"origins":["https://app.example"]}`)
		answer := s.refused("enabled: answered here", s.raw("OPTIONS /public/x HTTP/1.1", append(forged(), preflight...)...), http.StatusNoContent)
		if answer.Header.Get("Access-Control-Allow-Origin") != "https://app.example" || answer.Header.Get("X-Key-Id") != "" {
			s.t.Errorf("preflight: %v", answer.Header)
		}
		for what, headers := range map[string][]string{
			"no origin": preflight[1:], "no method": {preflight[0]}, "nothing": nil, "origin that no key lists": {"Origin: https://evil.example", preflight[1]}, "null": {"Origin: null", preflight[1]},
			"two origins": {preflight[0], "Origin: https://evil.example", preflight[1]}, "list of origins": {"Origin: https://app.example, https://evil.example", preflight[1]}, "longer origin": {"Origin: https://app.example.evil.example", preflight[1]},
			"http": {"Origin: http://app.example", preflight[1]}, "bad method": {preflight[0], "Access-Control-Request-Method: G ET"}, "two methods": {preflight[0], preflight[1], "Access-Control-Request-Method: PUT"},
			"override": append([]string{"X-HTTP-Method-Override: DELETE"}, preflight...), "override 2": append([]string{"X-Method-Override: GET"}, preflight...), "override 3": append([]string{"X-HTTP-Method: GET"}, preflight...),
		} {
			s.refused(what, s.raw("OPTIONS /admin/x HTTP/1.1", headers...), http.StatusUnauthorized)
		}
		s.refused("not with GET", s.raw("GET /public/x HTTP/1.1", preflight...), http.StatusUnauthorized)
		answer = s.refused("header names", s.raw("OPTIONS /x HTTP/1.1", preflight[0], preflight[1], "Access-Control-Request-Headers: x-a, b c, <script>, x-b\x01, x-d"), http.StatusNoContent, http.StatusBadRequest)
		if names := answer.Header.Get("Access-Control-Allow-Headers"); strings.ContainsAny(names, "<>\x01") {
			s.t.Errorf("Access-Control-Allow-Headers: %q", names)
		}
		for _, headers := range [][]string{nil, preflight, {s.reader.bearer()}} {
			s.refused("OPTIONS *", s.raw("OPTIONS * HTTP/1.1", headers...), http.StatusOK, http.StatusBadRequest)
			s.refused("GET *", s.raw("GET * HTTP/1.1", headers...), unproven...)
		}
		s.Load(cleartextH2, "@any method OPTIONS GET\napi_key {\npublic @any\n}\nreverse_proxy {$UPSTREAM}")
		s.refused("OPTIONS * of HTTP/2", s.h2(s.head("OPTIONS", "*")...), http.StatusOK, http.StatusBadRequest, reset)
		s.refused("GET * of HTTP/2", s.h2(s.head("GET", "*")...), http.StatusBadRequest, reset)
	}},
	{"L02_tunnels", func(s *scene) {
		statuses := []int{http.StatusMethodNotAllowed, http.StatusBadRequest, reset}
		s.everywhere(site)
		for _, key := range []string{"X: 1", s.reader.bearer(), s.admin.bearer()} {
			for _, target := range []string{s.Site, "/admin/x", "/public/x", "http://" + s.Site + "/public/x", "169.254.169.254:80", "*", ""} {
				s.refused("CONNECT "+target, s.raw("CONNECT "+target+" HTTP/1.1", key), statuses...)
			}
			s.refused("CONNECT, WebSocket", s.raw("CONNECT /public/x HTTP/1.1", key, "Connection: Upgrade", "Upgrade: websocket"), statuses...)
		}
		s.Load(cleartextH2, site)
		for _, key := range []string{"x: 1", lower(s.reader.bearer())} {
			s.refused("HTTP/2", s.h2(":method: CONNECT", ":authority: "+s.Site, key), statuses...)
			s.refused("HTTP/2 with a path", s.h2(append(s.head("CONNECT", "/public/x"), key)...), statuses...)
			s.refused("extended", s.h2(append(s.head("CONNECT", "/public/x"), ":protocol: websocket", key)...), statuses...)
			s.refused("extended, other protocol", s.h2(append(s.head("CONNECT", "/public/x"), ":protocol: connect-udp", key)...), statuses...)
			s.refused("protocol of a GET", s.h2(append(s.head("GET", "/public/x"), ":protocol: websocket", key)...), statuses...)
		}
		s.load(strings.Replace(site, "api_key {", "api_key {\nrelax connect", 1))
		s.refused("relaxed, no rule", s.raw("CONNECT /public/x HTTP/1.1", s.reader.bearer()), http.StatusForbidden)
		s.refused("relaxed, no key", s.raw("CONNECT "+s.Site+" HTTP/1.1"), http.StatusUnauthorized)
	}},
	{"L03_WebSocket", func(s *scene) {
		upgrade := func(target string, headers ...string) func() rig.Answer {
			return s.bytes("GET " + target + " HTTP/1.1\r\nHost: " + s.Site + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + lines(headers) + "\r\n")
		}
		s.Upstream.Respond("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes")
		r := s.reader.token
		for what, send := range map[string]func() rig.Answer{
			"no key": upgrade("/public/x"), "subprotocol": upgrade("/public/x", "Sec-WebSocket-Protocol: "+r), "subprotocols": upgrade("/public/x", "Sec-WebSocket-Protocol: bearer, "+r), "cookie": upgrade("/public/x", "Cookie: api_key="+r),
			"unknown key": upgrade("/public/x", "X-API-Key: x"), "other parameter": upgrade("/public/x?token=" + r), "extension": upgrade("/public/x", "Sec-WebSocket-Extensions: x; key="+r), "empty": upgrade("/public/x", "X-API-Key:"),
		} {
			s.refused(what, send, http.StatusUnauthorized)
		}
		s.refused("scope missing", upgrade("/public/x", s.admin.bearer()), http.StatusForbidden)
		for what, send := range map[string]func() rig.Answer{"bearer": upgrade("/public/x", append(forged(), s.reader.bearer())...), "query": upgrade("/public/x?" + s.reader.query())} {
			if answer := send(); answer.Status != http.StatusSwitchingProtocols {
				s.t.Errorf("%s: status %d", what, answer.Status)
			}
			got := s.Upstream.Last()
			s.without(what, got, "forged", r)
			if !strings.Contains(got, "X-Key-Id: "+s.reader.id) {
				s.t.Errorf("%s: the upstream got\n%s", what, s.mask(got))
			}
		}
	}},
	{"L04_framing", framing},
	{"L05_requests_of_one_connection", func(s *scene) {
		s.Load(cleartextH2, strings.Replace(site, "reverse_proxy {$UPSTREAM}", `respond "key={http.api_key.id}"`, 1))
		other := s.key(`{"name":"another reader","scopes":["read"]}`)
		one := func(more string, headers ...string) string {
			return "GET /public/x HTTP/1.1\r\nHost: " + s.Site + "\r\n" + lines(headers) + more + "\r\n"
		}
		stream := s.Raw(one("", s.reader.bearer()) + one("") + one("", other.header()) + one("", s.reader.header()) + one("", s.admin.bearer()) + one("Connection: close\r\n"))
		var got []string
		for part := range strings.SplitSeq(stream, "HTTP/1.1 ") {
			if part != "" {
				_, body, _ := strings.Cut(part, "\r\n\r\n")
				id, _ := strings.CutPrefix(body, "key=")
				if part[:3] != "200" {
					id = ""
				}
				got = append(got, part[:3]+id)
			}
		}
		if want := []string{"200" + s.reader.id, "401", "200" + other.id, "200" + s.reader.id, "403", "401"}; fmt.Sprint(got) != fmt.Sprint(want) {
			s.t.Errorf("%v, want %v", got, want)
		}

		c := s.dialH2()
		head := s.head("GET", "/public/x")
		var streams []uint32
		for i := range uint32(60) { // all begun before any is ended
			id := 2*i + 1
			streams = append(streams, id)
			c.headers(id, false, append(head, [][]string{{lower(s.reader.bearer())}, nil, {lower(other.header())}}[i%3]...)...)
		}
		for _, id := range streams {
			c.data(id, true, "")
		}
		for id, answer := range c.answers(streams...) {
			want := []string{"key=" + s.reader.id, "", "key=" + other.id}[id/2%3]
			if want == "" && answer.Status != http.StatusUnauthorized || want != "" && string(answer.Body) != want {
				s.t.Errorf("stream %d: status %d %s, want %q", id, answer.Status, answer.Body, want)
			}
		}
	}},
	{"L06_shared_cache", func(s *scene) {
		s.Upstream.Respond("HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nVary: Accept\r\nContent-Length: 0\r\n\r\n")
		varies := func(what string, answer rig.Answer) {
			s.t.Helper()
			vary := strings.ToLower(strings.Join(answer.Header.Values("Vary"), ","))
			for _, name := range []string{"accept", "authorization", "x-api-key"} {
				if !strings.Contains(vary, name) {
					s.t.Errorf("%s: Vary is %q, without %s", what, vary, name)
				}
			}
		}
		varies("header", s.Get("/public/x", s.reader.header()))
		varies("another's", s.Get("/public/x", s.writer.header()))
		varies("bearer", s.Get("/public/x", s.reader.bearer()))
		varies("optional, none", s.Get("/news/1"))
		varies("optional, one", s.Get("/news/1", s.reader.bearer()))
		if answer := s.Get("/public/x?" + s.reader.query()); !strings.Contains(strings.Join(answer.Header.Values("Cache-Control"), ","), "private") {
			s.t.Errorf("key in the query: Cache-Control %q", answer.Header.Values("Cache-Control"))
		}
		for what, send := range map[string]func() rig.Answer{"401": s.get("/public/x"), "401 invalid": s.get("/public/x", "X-API-Key: x"), "403": s.get("/admin/x", s.reader.header()), "400": s.get("/public/x?"+s.reader.query(), s.reader.header()), "405": s.request("TRACE", "/public/x")} {
			answer := s.refused(what, send, 400, 401, 403, 405)
			if got := answer.Header.Values("Cache-Control"); len(got) != 1 || got[0] != "no-store" {
				s.t.Errorf("%s: Cache-Control %q", what, got)
			}
		}
	}},
	{"L07_statuses", func(s *scene) {
		for what, send := range map[string]func() rig.Answer{"no key": s.get("/public/x"), "unknown": s.get("/public/x", "X-API-Key: x"), "no rule": s.get("/nowhere"), "empty": s.get("/public/x?api_key="), "optional": s.get("/news/1", "Authorization: Bearer x")} {
			if answer := s.refused(what, send, http.StatusUnauthorized); len(answer.Header.Values("WWW-Authenticate")) != 5 {
				s.t.Errorf("%s: challenges %q", what, answer.Header.Values("WWW-Authenticate"))
			}
		}
		for what, send := range map[string]func() rig.Answer{"scope": s.get("/admin/x", s.reader.bearer()), "no rule": s.get("/nowhere", s.reader.bearer()), "address": s.get("/public/x", s.bound.bearer())} {
			answer := s.refused(what, send, http.StatusForbidden)
			for _, challenge := range answer.Header.Values("WWW-Authenticate") {
				if !strings.HasPrefix(challenge, "Bearer ") || !strings.Contains(challenge, `error="insufficient_scope"`) {
					s.t.Errorf("%s: a 403 asks for a credential: %q", what, challenge)
				}
			}
		}
		if answer := s.refused("method", s.request("TRACE", "/public/x"), http.StatusMethodNotAllowed); answer.Header.Get("Allow") == "" {
			s.t.Error("a 405 without Allow")
		}
		for _, status := range []string{"401 Unauthorized", "403 Forbidden", "429 Too Many Requests"} {
			s.Upstream.Respond("HTTP/1.1 " + status + "\r\nWWW-Authenticate: Custom realm=\"upstream\"\r\nCache-Control: max-age=1\r\nContent-Length: 3\r\n\r\nown")
			for _, path := range []string{"/public/x", "/health"} {
				answer := s.Get(path, s.reader.bearer())
				if !strings.HasPrefix(status, fmt.Sprint(answer.Status)) || string(answer.Body) != "own" || fmt.Sprint(answer.Header["Www-Authenticate"], answer.Header["Cache-Control"]) != `[Custom realm="upstream"] [max-age=1]` {
					s.t.Errorf("%s of the upstream became %d %v %s", status, answer.Status, answer.Header, answer.Body)
				}
			}
		}
		s.load("@broken expression `int({http.request.uri.query.n}) > 0`\napi_key {\nrequire /broken read\nrequire @broken\n}\nreverse_proxy {$UPSTREAM}")
		if answer := s.refused("an expression that fails", s.get("/broken", s.reader.bearer()), http.StatusServiceUnavailable); answer.Header.Get("Retry-After") == "" {
			s.t.Error("a 503 without Retry-After")
		}
		ownTooManyRequests(s)
	}},

	{"L21_upgrade_to_another_protocol", func(s *scene) {
		for _, upgrade := range []string{"Upgrade: h2c", "Upgrade: websocket, h2c", "Upgrade: h2c, websocket", "Upgrade: websocket\r\nUpgrade: h2c", "Upgrade: h2c\r\nUpgrade: websocket", "Upgrade: TLS/1.3", "Upgrade: HTTP/2.0", "Upgrade: tcp", "Upgrade: websocket/13", "Upgrade: x"} {
			for _, target := range []string{"/public/x", "/health"} {
				got := s.reached(upgrade, s.bytes("GET "+target+" HTTP/1.1\r\nHost: "+s.Site+"\r\nConnection: Upgrade, HTTP2-Settings, close\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"+upgrade+"\r\n"+s.reader.bearer()+"\r\n\r\n"), "GET "+target+" HTTP/1.1")
				s.without(upgrade, got, "upgrade", "h2c")
			}
		}
		got := s.reached("WebSocket", s.bytes("GET /public/x HTTP/1.1\r\nHost: "+s.Site+"\r\nConnection: upgrade, close\r\nUpgrade: WebSocket\r\n"+s.reader.bearer()+"\r\n\r\n"), "GET /public/x HTTP/1.1", "Upgrade: websocket")
		s.without("WebSocket", got, "h2c")
	}},
	{"L22_early_data", func(s *scene) {
		for _, headers := range [][]string{{"Early-Data: 1"}, {"Early-Data: 0"}, {"Early-Data: 0", "Early-Data: 1"}, {"Early-Data: 1", "Early-Data: 1"}, {"Early-Data: 1, 1"}, {"Early-Data: true"}, {"Early-Data:"}, {"early-data: \t1 "}} {
			s.refused(headers[0], s.raw("GET /public/x HTTP/1.1", append(headers, s.reader.bearer())...), http.StatusTooEarly)
		}
	}},
	{"L23_expectations", func(s *scene) {
		post := func(expect, key, body string) func() rig.Answer {
			return s.bytes("POST /public/x HTTP/1.1\r\nHost: " + s.Site + "\r\nContent-Length: 9\r\n" + expect + "\r\n" + key + "\r\nConnection: close\r\n\r\n" + body)
		}
		for _, key := range []string{"X: 1", s.reader.bearer()} {
			s.refused("continue", post("Expect: 100-continue", key, ""), http.StatusUnauthorized, http.StatusForbidden)
			s.refused("something else", post("Expect: 200-ok", key, "123456789"), http.StatusExpectationFailed, http.StatusUnauthorized, http.StatusForbidden)
			s.refused("two", post("Expect: 100-continue\r\nExpect: x", key, "123456789"), http.StatusExpectationFailed, http.StatusUnauthorized, http.StatusForbidden)
		}
		if answer := post("Expect: 100-continue", s.writer.bearer(), "123456789")(); answer.Status != http.StatusOK && answer.Status != http.StatusContinue {
			s.t.Errorf("with a key: status %d", answer.Status)
		}
	}},
	{"L24_informational_answers", func(s *scene) {
		s.load(strings.Replace(site, "api_key {", "api_key {\ncors", 1))
		s.key(`{"name":"page","scopes":["read"],"origins":["https://app.example"]}`)
		for _, early := range []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nAccess-Control-Allow-Origin: *\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\nX-A: 1\r\n\r\n"} {
			s.Upstream.Respond(early + "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nCache-Control: max-age=9\r\nContent-Length: 2\r\n\r\nok")
			answer := s.Get("/public/x", "Origin: https://app.example", s.reader.header())
			if answer.Status != 200 || string(answer.Body) != "ok" || fmt.Sprint(answer.Header.Values("Access-Control-Allow-Origin")) != "[https://app.example]" || !strings.Contains(fmt.Sprint(answer.Header.Values("Vary")), "X-Api-Key") {
				s.t.Errorf("%.12s: %d %v %s", early, answer.Status, answer.Header, answer.Body)
			}
		}
		s.Upstream.Respond("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		if answer := s.Get("/public/x", s.reader.bearer()); answer.Status == http.StatusSwitchingProtocols {
			s.t.Errorf("101 that nobody asked for: status %d", answer.Status)
		}
	}},
	{"L25_request_inside_a_refused_body", func(s *scene) {
		inner := "GET /public/smuggled HTTP/1.1\r\nHost: " + s.Site + "\r\n" + s.reader.bearer() + "\r\n\r\n"
		for what, head := range map[string]string{
			"length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(inner), inner), "short length": "Content-Length: 1000000\r\n\r\n" + inner, "chunked": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(inner), inner),
			"broken chunk": "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + inner, "expecting": fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner),
		} {
			before := s.Upstream.Hits()
			stream := s.Raw("POST /public/x HTTP/1.1\r\nHost: " + s.Site + "\r\n" + head)
			if n := strings.Count(stream, "HTTP/1.1 "); n != 1 || !strings.HasPrefix(stream, "HTTP/1.1 401 ") || s.Upstream.Hits() != before {
				s.t.Errorf("%s: %d answers, %d requests upstream", what, n, s.Upstream.Hits()-before)
			}
		}
	}},
	{"L26_frames_out_of_order", func(s *scene) {
		s.Load(cleartextH2, site)
		head := append(s.head("POST", "/public/x"), lower(s.writer.bearer()))
		for what, play := range map[string]func(c *h2conn){
			"pseudo-header in the trailers": func(c *h2conn) {
				c.headers(1, false, append(head, "trailer: x-sum")...)
				c.headers(1, true, ":path: /admin/x", "x-sum: 1")
			},
			"headers on an even stream": func(c *h2conn) { c.headers(2, true, head...) },
			"stream 0":                  func(c *h2conn) { c.headers(0, true, head...) },
			"continuation of nothing":   func(c *h2conn) { _ = c.framer.WriteContinuation(1, true, nil); c.headers(1, true, head...) },
			"another stream in between": func(c *h2conn) {
				c.framer.AllowIllegalWrites = true
				_ = c.framer.WriteRawFrame(1, 0, 1, nil) // HEADERS that do not end
				c.headers(3, true, head...)
			},
			"data first": func(c *h2conn) { c.data(1, true, "x"); c.headers(1, true, head...) },
			"push":       func(c *h2conn) { _ = c.framer.WriteRawFrame(5, 4, 1, []byte{0, 0, 0, 2}); c.headers(3, true, head...) },
		} {
			s.refused(what, func() rig.Answer {
				c := s.dialH2()
				defer c.conn.Close()
				play(c)
				return c.answers(1)[1]
			}, http.StatusBadRequest, reset)
		}
		c := s.dialH2()
		c.headers(1, true, append(s.head("GET", "/public/x"), lower(s.reader.bearer()))...)
		c.headers(1, true, append(s.head("GET", "/admin/x"), lower(s.reader.bearer()))...)
		_ = c.answers(1)
		s.without("a stream used twice", s.Upstream.Last(), "/admin/x")
	}},
	{"L27_versions", func(s *scene) {
		key := s.reader.bearer() + "\r\nConnection: close\r\n"
		for _, line := range []string{"GET /admin/x", "GET /public/x HTTP/0.9", "GET /public/x HTTP/2.0", "GET /public/x HTTP/3.0", "GET /public/x http/1.1", "GET /public/x HTTP/1.1 ", "GET /public/x HTTP/1", "GET /public/x HTTP/11.1", "GET /public/x HTTP/-1.1", "GET /public/x HTTP/1.\u0661", "GET /public/x XTTP/1.1"} {
			s.refused(line, s.bytes(line+"\r\nHost: "+s.Site+"\r\n"+key+"\r\n"), http.StatusBadRequest, http.StatusHTTPVersionNotSupported)
		}
		s.refused("no host", s.bytes("GET /public/x HTTP/1.1\r\n"+key+"\r\n"), http.StatusBadRequest)
		s.refused("HTTP/1.0 without a key", s.bytes("GET /public/x HTTP/1.0\r\nHost: "+s.Site+"\r\n\r\n"), http.StatusUnauthorized)
		s.reached("HTTP/1.0", s.bytes("GET /public/x HTTP/1.0\r\nHost: "+s.Site+"\r\n"+key+"\r\n"), "GET /public/x HTTP/1.1", "X-Key-Id: "+s.reader.id)
	}},
	{"L28_ends_of_lines", func(s *scene) {
		b := s.reader.bearer()
		s.reached("line feeds", s.bytes("GET /public/x HTTP/1.1\nHost: "+s.Site+"\n"+b+"\nConnection: close\n\n"), "GET /public/x HTTP/1.1")
		for what, request := range map[string]string{
			"bare CR in a value":     "GET /public/x HTTP/1.1\r\nHost: " + s.Site + "\r\nX-A: b\rX-Key-Id: forged\r\n" + b + "\r\n\r\n",
			"bare CR as end":         "GET /public/x HTTP/1.1\rHost: " + s.Site + "\r" + b + "\r\r\n\r\n",
			"NUL in a value":         "GET /public/x HTTP/1.1\r\nHost: " + s.Site + "\r\nX-A: b\x00\r\n" + b + "\r\n\r\n",
			"blank before the colon": "GET /public/x HTTP/1.1\r\nHost: " + s.Site + "\r\nX-Key-Id : forged\r\n" + b + "\r\n\r\n",
			"no colon":               "GET /public/x HTTP/1.1\r\nHost: " + s.Site + "\r\nX-Key-Id\r\n" + b + "\r\n\r\n",
			"fold of the first line": "GET /public/x HTTP/1.1\r\n X-Key-Id: forged\r\nHost: " + s.Site + "\r\n" + b + "\r\n\r\n",
			"CR before the colon":    "GET /public/x HTTP/1.1\r\nHost: " + s.Site + "\r\nX-Key-Id\r: forged\r\n" + b + "\r\n\r\n",
			"non-ASCII name":         "GET /public/x HTTP/1.1\r\nHost: " + s.Site + "\r\nX-\u212aey-Id: forged\r\n" + b + "\r\n\r\n",
		} {
			s.refused(what, s.bytes(request), http.StatusBadRequest)
		}
	}},
	{"L29_hop_by_hop_fields", func(s *scene) {
		got := s.reached("TE", s.raw("GET /public/x HTTP/1.1", "TE: trailers, deflate", "Keep-Alive: timeout=9", "Proxy-Authorization: Basic x", "Proxy-Connection: close", "Via: 1.0 x", s.reader.bearer()), "GET /public/x HTTP/1.1", "Te: trailers")
		s.without("TE", got, "deflate", "keep-alive", "proxy-", "\r\nconnection:")
		s.Load(cleartextH2, site)
		s.refused("te of HTTP/2", s.h2(append(s.head("GET", "/public/x"), "te: chunked", lower(s.reader.bearer()))...), http.StatusBadRequest, reset)
		s.reached("te of HTTP/2", s.h2(append(s.head("GET", "/public/x"), "te: trailers", lower(s.reader.bearer()))...), "GET /public/x HTTP/1.1", "Te: trailers")
	}},
	{"L30_ranges_and_conditions", func(s *scene) {
		// Whatever a request asks for, a refusal is whole and is not cached as
		// a part or an unchanged copy of something.
		for _, header := range []string{"Range: bytes=0-0", "If-None-Match: *", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", "If-Match: x", "Accept: image/png", "Accept-Encoding: gzip", "Cache-Control: only-if-cached", "Prefer: return=minimal"} {
			answer := s.refused(header, s.raw("GET /public/x HTTP/1.1", header), http.StatusUnauthorized)
			if answer.Reason() != "missing_credential" || answer.Header.Get("Content-Type") != "application/problem+json" {
				s.t.Errorf("%s: %v %s", header, answer.Header, answer.Body)
			}
		}
	}},
}
