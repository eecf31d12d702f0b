package attack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// forged are the headers that only the server may set, as a client would send
// them.
func forged() (headers []string) {
	for _, name := range []string{"X-Key-Id", "X-Key-Org", "X-Key-Name", "X-Key-Owner"} {
		for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."), strings.Replace(name, "-", "_", 1)} {
			headers = append(headers, spelling+": forged")
		}
	}
	return headers
}

// identities is class C: what the upstream is told about the caller.
var identities = []attack{
	{"C01_forged_identity", func(s *scene) {
		for _, global := range []string{"", "servers {\nexpected_underscore_headers X_Key_* X_Key-Id\nexpected_dot_headers X.Key.*\n}"} {
			s.Load(global, site)
			send := func(target string, more ...string) func() rig.Answer {
				return s.raw("GET "+target+" HTTP/1.1", append(forged(), more...)...)
			}
			got := s.reached("with a key", send("/public/x", s.reader.bearer()), "GET /public/x HTTP/1.1", "X-Key-Id: "+s.reader.id, "X-Key-Name: reader")
			s.without("with a key", got, "forged", "x-key-org", "x-key-owner")
			for what, send := range map[string]func() rig.Answer{"optional": send("/news/1"), "public": send("/health"), "public with a key": send("/health", s.reader.bearer())} {
				s.without(what, s.accepted(what, send), "forged", "x-key", "x_key", "x.key")
			}
			for what, header := range map[string]string{"unknown": "X-API-Key: ck_" + strings.Repeat("0", 49), "mistyped": s.reader.bearer() + "x", "empty": "X-API-Key:", "out of range": s.bound.bearer()} {
				s.refused("optional, "+what, send("/news/1", header), http.StatusUnauthorized, http.StatusForbidden)
			}
		}
		s.Load(cleartextH2, site)
		for _, path := range []string{"/news/1", "/health"} {
			s.without("HTTP/2 "+path, s.accepted(path, s.h2(append(s.head("GET", path), "x-key-id: forged", "x_key_id: forged")...)), "forged")
		}
	}},
	{"C02_connection_header", func(s *scene) {
		for _, value := range []string{"close, X-Key-Id", "close, x-key-id", "X-Key-Id", "x-forwarded-for", "close, X-Forwarded-For", "X-API-Key", "Authorization", "close,,X-Key-Name", "close;X-Key-Id", "close X-Key-Id",
			`"x-key-id"`, "keep-alive, Host", "Content-Length", "close\r\n , X-Key-Id", "close\r\nConnection: X-Key-Id", "cookie", "Via", "x-key-\u0131d"} {
			s.refused(value, s.bytes("GET /public/x HTTP/1.1\r\nHost: "+s.Site+"\r\nConnection: "+value+"\r\nConnection: close\r\n"+s.reader.bearer()+"\r\n\r\n"), http.StatusBadRequest)
		}
		for _, value := range []string{"close", "Close, TE", "close, keep-alive"} {
			s.reached(value, s.bytes("GET /public/x HTTP/1.1\r\nHost: "+s.Site+"\r\nConnection: "+value+"\r\n"+s.reader.bearer()+"\r\n\r\n"), "GET /public/x HTTP/1.1", "X-Key-Id: "+s.reader.id)
		}
		got := s.reached("Proxy-Connection and Keep-Alive", s.raw("GET /public/x HTTP/1.1", "Proxy-Connection: X-Key-Id", "Keep-Alive: X-Key-Id", "Te: X-Key-Id", s.reader.bearer()), "GET /public/x HTTP/1.1", "X-Key-Id: "+s.reader.id)
		s.without("Proxy-Connection and Keep-Alive", got, "proxy-connection")
		s.Load(cleartextH2, site)
		for _, field := range []string{"connection: x-key-id", "proxy-connection: x-key-id", "keep-alive: x", "upgrade: x", "connection: close"} {
			s.refused("HTTP/2 "+field, s.h2(append(s.head("GET", "/public/x"), lower(s.reader.bearer()), field)...), http.StatusBadRequest, reset)
		}
	}},
	{"C03_key_stays_here", func(s *scene) {
		r := s.reader.token
		for query, rest := range map[string]string{
			"api_key=" + r: "", "a=1&api_key=" + r: "?a=1", "api_key=" + r + "&b=%2F+%20&a": "?b=%2F+%20&a", "z=1&api_key=" + r + "&a=2&a=1": "?z=1&a=2&a=1", "api_key=" + r + "&": "?", "&api_key=" + r: "?",
		} {
			line := "GET /public/x" + rest + " HTTP/1.1"
			s.reached(s.mask(query), s.get("/public/x?"+query), strings.Replace(line, "? HTTP", " HTTP", 1))
		}
		for _, referer := range []string{"http://x/?api_key=" + r, "http://x/?a=" + r, "http://x/?api_key=" + s.admin.token, "http://x/#" + r, "http://x/?a=%63" + r[1:], "http://x/?a=%2563" + r[1:], "http://x/" + r + "/y"} {
			got := s.reached("Referer", s.get("/public/x?"+s.reader.query(), "Referer: "+referer), "GET /public/x HTTP/1.1")
			s.without("Referer", got, "referer")
		}
		s.reached("another Referer", s.get("/public/x?"+s.reader.query(), "Referer: http://x/?a=1"), "GET /public/x HTTP/1.1", "Referer: http://x/?a=1")
		s.without("header", s.reached("header", s.get("/public/x", s.reader.header()), "GET /public/x HTTP/1.1"), "x-api-key")
		s.without("bearer", s.reached("bearer", s.get("/public/x", s.reader.bearer()), "GET /public/x HTTP/1.1"), "authorization")
	}},
	{"C04_texts_of_a_key", func(s *scene) {
		s.load("api_key {\nrequire *\nforward name X-Key-Name\nforward owner X-Key-Owner\nforward meta.note X-Key-Note\n}\nreverse_proxy {$UPSTREAM} {\nheader_up X-Copy {http.api_key.name}|{http.api_key.owner}|{http.api_key.meta.note}\n}")
		for _, text := range []string{"a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\x00b", "a\u2028X-Evil: 1", "a\u0085b", "{env.HOME}", "{file./etc/passwd}", "{http.request.header.Cookie}", "{http.request.header.Authorization}", "{$HOME}",
			`\{env.HOME}`, "{{env.HOME}}", "{", "🔑 key", "ключ", strings.Repeat("a", 8<<10), "\u202eevil", "a\tb", "<b>", `"quoted\"`, "  padded  ", ""} {
			body, _ := json.Marshal(map[string]any{"name": "n" + text, "owner": text, "metadata": map[string]string{"note": text}})
			answer := s.Manage("POST", "/keys", string(body))
			if answer.Status != http.StatusCreated {
				if answer.Status != http.StatusBadRequest {
					s.t.Errorf("%.20q: status %d", text, answer.Status)
				}
				continue
			}
			token := answer.JSON(s.t)["token"].(string)
			s.secrets = append(s.secrets, token)
			got := s.reached(text, s.get("/x", "Authorization: Bearer "+token, "Cookie: c=secret-of-the-cookie"), "GET /x HTTP/1.1", "X-Copy: "+strings.TrimRight(fmt.Sprintf("n%s|%s|%s", text, text, text), " "))
			if strings.Contains(got, "\r\nX-Evil") || strings.Contains(got, "root:") || strings.Count(got, "secret-of-the-cookie") != 1 {
				s.t.Errorf("%.20q: the upstream got\n%s", text, got)
			}
		}
	}},

	{"C21_forged_identity_in_a_trailer", func(s *scene) {
		for what, c := range map[string]struct {
			announced, sent string
			statuses        []int
		}{
			"announced":             {"Trailer: X-Key-Id\r\n", "X-Key-Id: forged", []int{400}},
			"announced, other case": {"Trailer: x-kEY-id\r\n", "x-kEY-id: forged", []int{400}},
			"announced, underscore": {"Trailer: X_Key_Id\r\n", "X_Key_Id: forged", []int{400}},
			"announced among":       {"Trailer: X-Sum, X-Key-Org\r\n", "X-Key-Org: forged", []int{400}},
			"override announced":    {"Trailer: X-HTTP-Method-Override\r\n", "X-HTTP-Method-Override: forged", []int{400}},
			"framing announced":     {"Trailer: Content-Length\r\n", "Content-Length: 9", []int{400}},
			"not announced":         {"", "X-Key-Id: forged", []int{200}},
			"another announced":     {"Trailer: X-Sum\r\n", "X-Sum: 1\r\nX-Key-Id: forged\r\nX_Key_Id: forged\r\nx.key.id: forged", []int{200}},
			"only another":          {"Trailer: X-Sum\r\n", "X-Key-Name: forged", []int{200}},
			"override, another":     {"Trailer: X-Sum\r\n", "X-Sum: 1\r\nX-HTTP-Method-Override: forged\r\nX-Original-URL: /forged", []int{200}},
		} {
			for _, target := range []string{"/public/x", "/health"} {
				send := s.bytes("POST " + target + " HTTP/1.1\r\nHost: " + s.Site + "\r\nConnection: close\r\n" + s.writer.bearer() + "\r\n" + c.announced + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n" + c.sent + "\r\n\r\n")
				if c.statuses[0] == 400 {
					s.refused(what, send, 400)
					continue
				}
				s.without(what, s.reached(what, send, "POST "+target+" HTTP/1.1"), "forged")
			}
		}
		got := s.reached("an honest trailer", s.bytes("POST /public/x HTTP/1.1\r\nHost: "+s.Site+"\r\nConnection: close\r\n"+s.writer.bearer()+"\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n"), "POST /public/x HTTP/1.1")
		if !strings.Contains(got, "X-Sum: 7") {
			s.t.Errorf("the upstream did not get the trailer:\n%s", got)
		}
	}},
	{"C22_forged_identity_in_a_trailer_of_HTTP2", func(s *scene) {
		s.Load(cleartextH2, site)
		send := func(announced string, trailers ...string) func() rig.Answer {
			return func() rig.Answer {
				c := s.dialH2()
				c.headers(1, false, append(s.head("POST", "/public/x"), lower(s.writer.bearer()), "trailer: "+announced)...)
				c.data(1, false, "hi")
				c.headers(1, true, trailers...)
				return c.answers(1)[1]
			}
		}
		s.refused("announced", send("X-Key-Id", "x-key-id: forged"), http.StatusBadRequest)
		s.refused("announced in another spelling", send("x_key_id", "x_key_id: forged"), http.StatusBadRequest)
		s.without("another announced", s.reached("another announced", send("X-Sum", "x-sum: 1", "x-key-id: forged", "x_key_id: forged"), "POST /public/x HTTP/1.1"), "forged")
		s.without("empty", s.reached("empty", send("X-Sum", "x-key-id: forged"), "POST /public/x HTTP/1.1"), "forged")
	}},
	{"C23_forged_identity_over_HTTP3", func(s *scene) {
		client, url := s.overH3()
		request := func(announced string, trailers ...string) *http.Request {
			body := &lateTrailer{Reader: strings.NewReader("hi"), names: trailers}
			req, err := http.NewRequest("POST", url+"/public/x", body)
			if err != nil {
				s.t.Fatal(err)
			}
			// The client announces what it knows when it begins.
			req.Trailer = http.Header{announced: nil}
			body.trailer = req.Trailer
			req.Header.Set("Authorization", "Bearer "+s.writer.token)
			req.Header.Set("X-Key-Id", "forged")
			req.Header["x_key_id"] = []string{"forged"}
			return req
		}
		s.refused("announced", s.send(client, request("X-Key-Id", "X-Key-Id")), http.StatusBadRequest, reset)
		got := s.reached("another announced", s.send(client, request("X-Sum", "X-Key-Id", "X_Key_Id")), "POST /public/x HTTP/1.1", "X-Key-Id: "+s.writer.id)
		s.without("another announced", got, "forged")
	}},
	{"C24_two_hosts_in_HTTP2", func(s *scene) {
		s.Load(cleartextH2, site)
		head := append(s.head("GET", "/public/x"), lower(s.reader.bearer()))
		for what, fields := range map[string][]string{
			"another host": append(head, "host: admin.example"), "two hosts": append(head, "host: "+s.Site, "host: admin.example"),
			"two authorities": append(head, ":authority: admin.example"),
		} {
			before := s.Upstream.Hits()
			if answer := s.h2(fields...)(); answer.Status == http.StatusOK && s.Upstream.Hits() > before {
				got := s.Upstream.Last()
				if !strings.Contains(got, "\r\nHost: "+s.Site+"\r\n") {
					s.t.Errorf("%s: the upstream got another host:\n%s", what, s.mask(got))
				}
				s.without(what, got, "admin.example")
			}
		}
		s.refused("user information", s.h2(":method: GET", ":scheme: http", ":authority: u@"+s.Site, ":path: /public/x", lower(s.reader.bearer())), http.StatusBadRequest, reset, http.StatusOK)
	}},
	{"C25_placeholders_of_the_client", func(s *scene) {
		s.load("api_key {\nrequire * read\nforward id X-Key-Id\n}\nrequest_header X-Copied {http.request.header.X-Note}\nreverse_proxy {$UPSTREAM} {\nheader_up X-Copy {http.request.header.X-Note}\nheader_up X-Path {http.request.uri.path}\n}")
		got := s.reached("header", s.get("/{http.api_key.id}?{env.HOME}", s.reader.bearer(), "X-Note: {http.api_key.id} {env.HOME}"), "GET /%7Bhttp.api_key.id%7D?{env.HOME} HTTP/1.1", "X-Copy: {http.api_key.id} {env.HOME}", "X-Copied: {http.api_key.id} {env.HOME}", "X-Path: /{http.api_key.id}")
		if strings.Count(got, s.reader.id) != 1 {
			s.t.Errorf("a placeholder of the client was expanded:\n%s", got)
		}
	}},
	{"C26_two_handlers", func(s *scene) {
		s.load("route {\napi_key {\nfrom header X-First\noptional *\nforward id X-Key-Id\n}\napi_key {\nrequire * read\nforward id X-Key-Id\n}\nreverse_proxy {$UPSTREAM} {\nheader_up X-Placeholder {http.api_key.id}\n}\n}")
		key := "X-Key-Id: " + s.reader.id
		s.reached("only the second", s.get("/x", s.reader.bearer()), "GET /x HTTP/1.1", key, "X-Placeholder: "+s.reader.id)
		s.reached("both", s.get("/x", "X-First: "+s.admin.token, s.reader.bearer()), "GET /x HTTP/1.1", key, "X-Placeholder: "+s.reader.id)
		s.refused("only the first", s.get("/x", "X-First: "+s.reader.token), http.StatusUnauthorized)
		s.refused("the first is bad", s.get("/x", "X-First: x", s.reader.bearer()), http.StatusUnauthorized)
	}},
	{"C27_error_routes", func(s *scene) {
		s.load("api_key {\nerrors caddy\nfrom bearer\nfrom header X-API-Key\nfrom query api_key\nrequire * read\nforward id X-Key-Id\nforward org X-Key-Org\nforward name X-Key-Name\nforward owner X-Key-Owner\n}\nrespond ok\nhandle_errors {\nreverse_proxy {$UPSTREAM} {\nheader_up X-Was {http.request.orig_uri}\nheader_up X-Copy {http.request.uri}\n}\n}")
		// Caddy logs errors with the request as it came in, so these keys are not
		// among those looked for.
		var reader, admin caller
		reader.id, reader.token = s.Create(`{"name":"reader","scopes":["read"]}`)
		admin.id, admin.token = s.Create(`{"name":"administrator","scopes":["admin"]}`)
		for what, send := range map[string]func() rig.Answer{
			"no key": s.raw("GET /x HTTP/1.1", forged()...), "scope missing": s.raw("GET /x?"+admin.query()+" HTTP/1.1", forged()...), "header": s.raw("GET /x HTTP/1.1", append(forged(), admin.header())...),
			"two keys": s.raw("GET /x?"+reader.query()+" HTTP/1.1", append(forged(), admin.header(), reader.bearer())...), "bad path": s.raw("GET /../x?a=1&"+reader.query()+" HTTP/1.1", forged()...),
		} {
			before := s.Upstream.Hits()
			send()
			if s.Upstream.Hits() != before+1 {
				s.t.Fatalf("%s: the error route was not asked", what)
			}
			s.without(what, s.Upstream.Last(), "forged", "X-Key-Id", reader.token, admin.token)
		}
	}},
	{"C28_error_route_of_a_broken_upstream", func(s *scene) {
		s.load("api_key {\nfrom query api_key\nrequire * read\nforward id X-Key-Id\nforward org X-Key-Org\nforward name X-Key-Name\nforward owner X-Key-Owner\n}\nroute {\nrequest_header X-Was {http.request.orig_uri}\nreverse_proxy " + rig.FreeAddr(s.t) + "\n}\nhandle_errors {\nreverse_proxy {$UPSTREAM} {\nheader_up X-Copy {http.request.orig_uri}|{http.request.uri}\n}\n}")
		// Caddy logs a request that fails at 500 and above with its query, so
		// this key is not one of those looked for.
		id, token := s.Create(`{"name":"in the query","scopes":["read"]}`)
		got := s.reached("fallback", s.raw("GET /x?a=1&api_key="+token+" HTTP/1.1", forged()...), "GET /x?a=1 HTTP/1.1", "X-Key-Id: "+id, "X-Copy: /x?a=1|/x?a=1", "X-Was: /x?a=1")
		s.without("fallback", got, "forged", token)
	}},
	{"C29_guarded_error_route", func(s *scene) {
		guard := "api_key {\nrequire * read\nforward id X-Key-Id\n}\n"
		s.everywhere(guard + "reverse_proxy {$UPSTREAM}\nhandle_errors {\n" + guard + "reverse_proxy {$UPSTREAM}\n}")
		for _, host := range []string{"...", "", "a b"} {
			s.refused("no key, host "+host, s.bytes("GET /x HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n"+lines(forged())+"\r\n"), http.StatusBadRequest, http.StatusUnauthorized)
		}
	}},
	{"C30_headers_with_a_meaning", func(s *scene) {
		for _, name := range []string{"Connection", "Host", "Content-Length", "Transfer-Encoding", "Upgrade", "Te", "Trailer", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "X_Key_Id", "X.Key", "", "X Key", "Authorization", "X-API-Key"} {
			if err := s.TryLoad("", "api_key {\nrequire *\nforward id \""+name+"\"\n}\nreverse_proxy {$UPSTREAM}"); err == nil {
				s.t.Errorf("forward id %q was not refused, and would not reach the upstream", name)
			}
		}
	}},
	{"C31_observing", func(s *scene) {
		s.load(strings.Replace(site, "api_key {", "api_key {\nmode observe", 1))
		for what, send := range map[string]func() rig.Answer{
			"no key": s.raw("GET /public/x HTTP/1.1", forged()...), "unknown key": s.raw("GET /public/x HTTP/1.1", append(forged(), "X-API-Key: x")...), "no rule": s.raw("GET /x HTTP/1.1", append(forged(), s.reader.bearer())...),
			"wrong address": s.raw("GET /public/x HTTP/1.1", append(forged(), s.bound.bearer())...), "bad path": s.raw("GET /public/../x HTTP/1.1", append(forged(), s.reader.bearer())...),
		} {
			s.without(what, s.accepted(what, send), "forged", "x-key-id")
		}
	}},
}
