package attack

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// paths is class B: the route and the method that the decision saw are not those
// that the upstream sees.
var paths = []attack{
	{"B01_dot_segments_and_empty_segments", func(s *scene) {
		s.refusedTargets("/public/../admin/x", "/public/%2e%2e/admin/x", "/public/.%2e/admin/x", "/public/%2e./admin/x", "/public/%2E%2E/admin/x", "/public/..%2fadmin/x",
			"/public/..%2Fadmin/x", "//admin/x", "/public//../admin/x", "/public/./../admin/x", "/public/x/../../admin/x", "/public/..", "/public/.", "/./admin/x",
			"/public//x", "/public/x//", "/public/x/..", "/public/.//x", "/..", "/%2e%2e%2fadmin/x", "/public/...//../admin/x", "///admin/x", "/health/../admin/x", "/news/../admin/x")
		for _, target := range []string{"/health/../admin/x", "/news/../admin/x", "/news//admin/x", "/health/", "/health/x"} {
			s.refused("no key: "+target, s.raw("GET "+target+" HTTP/1.1"), unproven...)
		}
		s.reached("three dots are a name", s.raw("GET /public/.../x HTTP/1.1", s.reader.bearer()), "GET /public/.../x HTTP/1.1")
		s.reached("dots in a name", s.raw("GET /public/..x/x..y HTTP/1.1", s.reader.bearer()), "GET /public/..x/x..y HTTP/1.1")
	}},
	{"B02_letter_case", func(s *scene) {
		for _, target := range []string{"/ADMIN/x", "/Admin/x", "/admiN/x", "/%41dmin/x", "/Public/x", "/PUBLIC/x", "/%50ublic/x", "/publi%43/x"} {
			s.refused(target, s.raw("GET "+target+" HTTP/1.1", s.reader.bearer()), http.StatusForbidden)
		}
		s.refused("public in another case", s.raw("GET /Health HTTP/1.1"), http.StatusUnauthorized)
		s.refused("optional in another case", s.raw("GET /NEWS/1 HTTP/1.1"), http.StatusUnauthorized)
		s.reached("the same letter, encoded", s.raw("GET /%70ublic/X HTTP/1.1", s.reader.bearer()), "GET /%70ublic/X HTTP/1.1")
	}},
	{"B03_backslash", func(s *scene) {
		s.refusedTargets(`/public/%5c..%5cadmin/x`, `/public\..\admin\x`, `/public/..\admin/x`, `/public/%5C..%5Cadmin`, `\admin\x`, `/public/x\`, `/public/..%5cadmin/x`, `/%5cadmin/x`, `/public/%5c%2e%2e/admin`)
	}},
	{"B04_path_parameters", func(s *scene) {
		s.refusedTargets("/public/..;/admin/x", "/public/;x/../admin", "/admin;a=b/x", "/public/..;a=b/admin", "/public;/../admin", "/public/x;a=1", "/public/%3b/x", "/public/..%3b/admin", "/;/admin/x", "/public/.;/x", "/public/..;%2fadmin")
	}},
	{"B05_double_encoding", func(s *scene) {
		s.refusedTargets("/public/%252e%252e/admin/x", "/public/%252e%252e%252fadmin", "/public/%25%32%65%25%32%65/admin", "/public/%2%65%2%65/admin", "/public/%252525252e/x", "/public/x%2541", "/public/%255c..%255cadmin", "/public/..%c0%af/admin")
		s.reached("a percent sign", s.raw("GET /public/100%25 HTTP/1.1", s.reader.bearer()), "GET /public/100%25 HTTP/1.1")
	}},
	{"B06_control_bytes_and_encoded_slash", func(s *scene) {
		s.refusedTargets("/public/%00/../admin/x", "/public/%00", "/public/x%00.html", "/public/%0a", "/public/%0d%0aX:1", "/public/%0d", "/public/%09x", "/public/%7f", "/public%2f..%2fadmin",
			"/admin%2fx", "/public%2Fx", "/public/%2fadmin", "%2fadmin/x", "/public/\x01", "/public/\x7f", "/public/x\tHTTP/1.1 y", "/public/\x00x")
	}},
	{"B07_fragment", func(s *scene) {
		s.refusedTargets("/public/a#/../admin/x", "/public/a#", "/admin/x#/../../public/", "/public/x?#", "/public/x?a=1#b", "#/public/x", "/public/#/admin")
		s.reached("encoded", s.raw("GET /public/a%23b?c=%23 HTTP/1.1", s.reader.bearer()), "GET /public/a%23b?c=%23 HTTP/1.1")
	}},
	{"B08_segment_boundary", func(s *scene) {
		for _, target := range []string{"/administrator", "/admin.json", "/admin%20", "/admin%20/x", "/admin./x", "/adminx/y", "/admin", "/publicx/y", "/public", "/public.json"} {
			s.refused(target, s.raw("GET "+target+" HTTP/1.1", s.admin.bearer()), http.StatusForbidden)
			s.refused(target, s.raw("GET "+target+" HTTP/1.1", s.reader.bearer()), http.StatusForbidden)
		}
		s.reached("the slash is part of the pattern", s.raw("GET /admin/ HTTP/1.1", s.admin.bearer()), "GET /admin/ HTTP/1.1")
		for _, target := range []string{"/healthz", "/health/", "/health.json", "/health%20", "/xhealth"} {
			s.refused("public "+target, s.raw("GET "+target+" HTTP/1.1"), http.StatusUnauthorized)
		}
	}},
	{"B09_methods", func(s *scene) {
		for _, method := range []string{"delete", "Delete", "PoSt", "DELETE", "POST", "PUT", "PATCH", "FOO", "PROPFIND", "TRACE", "trace", "CONNECT", "connect", "get", "LINK", "PURGE",
			"QUERY", "MKCOL", "SEARCH", "PRI", "GETX", "GE", "OPTIONS", "$METHOD", "GET.", "get|delete", strings.Repeat("A", 33), strings.Repeat("G", 5000)} {
			s.refused(fmt.Sprintf("%.9s", method), s.raw(method+" /public/x HTTP/1.1", s.reader.bearer()), http.StatusForbidden, http.StatusMethodNotAllowed)
		}
		for _, line := range []string{" GET /public/x HTTP/1.1", "GET\t/public/x HTTP/1.1", "GET  /public/x HTTP/1.1", "\x00GET /public/x HTTP/1.1", "DELETE\xa0 /public/x HTTP/1.1"} {
			s.refused(fmt.Sprintf("%q", line), s.raw(line, s.reader.bearer()), http.StatusBadRequest, http.StatusMethodNotAllowed)
		}
		s.reached("HEAD", s.request("HEAD", "/public/x", s.reader.bearer()), "HEAD /public/x HTTP/1.1")
	}},
	{"B10_method_overrides", func(s *scene) {
		headers := []string{"X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "x-http-method-override: delete", "X_HTTP_Method_Override: DELETE", "X.Http.Method: DELETE"}
		got := s.reached("headers", s.raw("GET /public/x HTTP/1.1", append(headers, s.reader.bearer())...), "GET /public/x HTTP/1.1")
		s.without("headers", got, "override", "http-method", "http_method", "http.method", "delete")
		s.Load("servers {\nexpected_underscore_headers X_HTTP_* X_Method_Override\nexpected_dot_headers X.Http.*\n}", site)
		got = s.reached("aliases that the server keeps", s.raw("GET /public/x HTTP/1.1", append(headers, "X_Method_Override: DELETE", s.reader.bearer())...), "GET /public/x HTTP/1.1")
		s.without("aliases that the server keeps", got, "override", "http_method", "http.method", "delete")
		for _, query := range []string{"_method=DELETE", "a=1&_method=DELETE", "_METHOD=delete", "%5fmethod=DELETE", "_method[]=DELETE", "_method", "a=1;_method=DELETE", "+_method=DELETE", ".method=DELETE", "%20_method=x"} {
			s.refused(query, s.raw("GET /public/x?"+query+" HTTP/1.1", s.reader.bearer()), http.StatusBadRequest)
		}
		form := "POST /public/x HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 14"
		s.refused("form", s.bytes(form+"\r\nHost: "+s.Site+"\r\n"+s.reader.bearer()+"\r\n\r\n_method=DELETE"), http.StatusForbidden)
	}},
	{"B11_claimed_paths", func(s *scene) {
		names := []string{"X-Original-URL", "X-Original-URI", "X-Original-Method", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Prefix", "X-Forwarded-Method"}
		var headers []string
		for _, name := range names {
			headers = append(headers, name+": /public/claimed", strings.ToLower(name)+": /admin/claimed", strings.ReplaceAll(name, "-", "_")+": /public/claimed")
		}
		s.refused("admin", s.raw("GET /admin/x HTTP/1.1", append(headers, s.reader.bearer())...), http.StatusForbidden)
		s.refused("no key", s.raw("GET /public/x HTTP/1.1", append(headers, "X-Original-URL: /health")...), http.StatusUnauthorized)
		for what, send := range map[string]func() rig.Answer{
			"with a key": s.raw("GET /public/x HTTP/1.1", append(headers, s.reader.bearer())...),
		} {
			s.without(what, s.reached(what, send, "GET /public/x HTTP/1.1"), "claimed")
		}
		s.without("public", s.reached("public", s.raw("GET /health HTTP/1.1", headers...), "GET /health HTTP/1.1"), "claimed")
		s.load("@pub path_regexp ^/public/\n@adm path_regexp ^/admin/\napi_key {\nrequire @pub read\nrequire @adm admin\n}\nreverse_proxy {$UPSTREAM}")
		for _, target := range []string{"/admin/x?x=/public/", "/admin/x?/public/", "/x?/public/y", "/?/public/"} {
			s.refused("path_regexp "+target, s.raw("GET "+target+" HTTP/1.1", s.reader.bearer()), http.StatusForbidden)
		}
	}},
	{"B12_rewrites", rewrites},

	{"B21_malformed_query", func(s *scene) {
		s.load("@delete query action=delete\napi_key {\nrequire * read\nrequire @delete admin\n}\nreverse_proxy {$UPSTREAM}")
		s.refused("plain", s.get("/x?action=delete", s.reader.bearer()), http.StatusForbidden)
		for _, query := range []string{"action=delete&%zz", "action=delete&x=%", "action=delete;", "x=1;action=delete", "action=delete&;", "%zz=1&action=delete", "action=delete&a=%4", "action=delete&b=%u0041", "action=delete" + strings.Repeat("&", 10000)} {
			s.refused(fmt.Sprintf("%.30s", query), s.raw("GET /x?"+query+" HTTP/1.1", s.reader.bearer()), ambiguous...)
		}
		s.load("@tenant path /t\napi_key {\nrequire @tenant tenants/{http.request.uri.query.id}:use\n}\nreverse_proxy {$UPSTREAM}")
		k := s.key(`{"name":"tenant 17","scopes":["tenants/17:use"]}`)
		s.reached("own", s.get("/t?id=17", k.bearer()), "GET /t?id=17 HTTP/1.1")
		for _, query := range []string{"id=18", "id=17&id=18", "id=18&id=17", "id=17&id=18;", "id=17;id=18", "id=17&%69d=18", "id=17&id=18%zz", "", "id="} {
			s.refused(query, s.raw("GET /t?"+query+" HTTP/1.1", k.bearer()), ambiguous...)
		}
	}},
	{"B22_host_of_a_rule", func(s *scene) {
		s.everywhere("@adm host admin.example\napi_key {\nrequire * read\nrequire @adm admin\n}\nreverse_proxy {$UPSTREAM}")
		send := func(host string) func() rig.Answer {
			return s.bytes("GET /x HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n" + s.reader.bearer() + "\r\n\r\n")
		}
		for _, host := range []string{"api.example", "api.example:8080", "[::1]:80", "127.0.0.1", "a_b.example"} {
			s.reached(host, send(host), "GET /x HTTP/1.1", "Host: "+host)
		}
		for _, host := range []string{"admin.example", "ADMIN.example", "admin.example:80", "Admin.Example:99"} {
			s.refused(host, send(host), http.StatusForbidden)
		}
		for _, host := range []string{"admin.example.", "admin.example.:80", "x@admin.example", "%61dmin.example", "admin.example,api.example", "admin.example;x", "admin.example:80:80", "admin.example:x",
			"[admin.example]", ".admin.example", "admin..example", "admin.example:", "api.example@admin.example", "(admin.example)", "admin.example'", "[::1", "[::1]x", "[::1%25lo]", ":80", "..."} {
			s.refused(host, send(host), http.StatusBadRequest)
		}
		s.refused("two", s.bytes("GET /x HTTP/1.1\r\nHost: api.example\r\nHost: admin.example\r\nConnection: close\r\n"+s.reader.bearer()+"\r\n\r\n"), http.StatusBadRequest)
		s.refused("two in one", send("api.example\r\n admin.example"), http.StatusBadRequest)
		s.refused("the target decides", s.bytes("GET http://admin.example/x HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n"+s.reader.bearer()+"\r\n\r\n"), http.StatusForbidden)
		s.refused("the target, with a dot", s.bytes("GET http://admin.example./x HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n"+s.reader.bearer()+"\r\n\r\n"), http.StatusBadRequest)
		got := s.reached("other way round", s.bytes("GET http://api.example/x HTTP/1.1\r\nHost: admin.example\r\nConnection: close\r\n"+s.reader.bearer()+"\r\n\r\n"), "GET /x HTTP/1.1", "Host: api.example")
		s.without("other way round", got, "admin.example")
	}},
	{"B23_forms_of_the_target", func(s *scene) {
		s.load("api_key {\nrequire * read\nrequire / admin\nrequire /admin/* admin\n}\nreverse_proxy {$UPSTREAM}")
		for _, target := range []string{"http://" + s.Site, "http://" + s.Site + "?x=1", "HTTP://" + s.Site + "/admin/x", "http://" + s.Site + "/admin/x", "https://" + s.Site + "/admin/x", "http:///admin/x", "/", "/?x", "/admin/x"} {
			s.refused(target, s.raw("GET "+target+" HTTP/1.1", s.reader.bearer()), ambiguous...)
		}
		for _, target := range []string{"*", "http:/admin/x", "http:admin/x", "http://u@" + s.Site + "/x", "ftp://" + s.Site + "/x", "x:/admin/x", "x:x", "?x=1", "admin/x", "", "http://" + s.Site + "//admin/x",
			"http://" + s.Site + "/../admin/x", "http://" + s.Site + `\admin/x`, "http://" + s.Site + "#/admin/x", "http://u:p@" + s.Site + "/x", "http://[::1/x", "javascript:/admin/x", "//" + s.Site + "/admin/x", "*/admin/x", "**"} {
			s.refused(target, s.raw("GET "+target+" HTTP/1.1", s.reader.bearer()), http.StatusBadRequest)
		}
		s.reached("absolute", s.raw("GET http://"+s.Site+"/x?y HTTP/1.1", s.reader.bearer()), "GET /x?y HTTP/1.1")
	}},
	{"B24_captures_of_another_rule", func(s *scene) {
		s.load(`
@project path_regexp ^/projects/([^/]+)
@traced  header_regexp X-Trace ^(.+)$
api_key {
	require @project projects/{http.regexp.1}:use
	require @traced
}
reverse_proxy {$UPSTREAM}`)
		k := s.key(`{"name":"project 17","scopes":["projects/17:use"]}`)
		s.reached("own", s.get("/projects/17", k.bearer()), "GET /projects/17 HTTP/1.1")
		s.reached("own, traced", s.get("/projects/17", k.bearer(), "X-Trace: abc"), "GET /projects/17 HTTP/1.1")
		s.refused("another's", s.get("/projects/18", k.bearer()), http.StatusForbidden)
		s.refused("another's, traced", s.get("/projects/18", k.bearer(), "X-Trace: 17"), http.StatusForbidden)
	}},
	{"B25_placeholders_of_scopes", func(s *scene) {
		s.load("api_key {\nrequire /b/* brands/{http.request.uri.path.1}:use\nrequire /h/* tenants/{http.request.header.X-Tenant}:use\n}\nreverse_proxy {$UPSTREAM}")
		k := s.key(`{"name":"17","scopes":["brands/17:use","tenants/17:use"]}`)
		s.reached("own", s.get("/b/17/x", k.bearer()), "GET /b/17/x HTTP/1.1")
		s.reached("own, encoded", s.get("/b/1%37/x", k.bearer()), "GET /b/1%37/x HTTP/1.1")
		for _, target := range []string{"/b/18", "/b/*", "/b/", "/b/17:use", "/b/17%2f18", "/b/17%3ause", "/b/1%C2%B97", "/b/%EF%BC%91%EF%BC%97", "/b/17%20", "/b/%2017", "/b/17.", "/b/{http.request.uri.path.2}/17",
			"/b/%7bhttp.request.uri.path.2%7d/17", "/b/17%00", "/b/17;x", "/b/017", "/b/17%2525", "/b//17", "/b/./17", "/b/**", "/b/%2a", "/B/17", "/b/17+", "/b/17,18", "/b/%31%37%0a"} {
			s.refused(target, s.raw("GET "+target+" HTTP/1.1", k.bearer()), ambiguous...)
		}
		s.reached("own tenant", s.get("/h/x", k.bearer(), "X-Tenant: 17"), "GET /h/x HTTP/1.1")
		for what, headers := range map[string][]string{"none": nil, "empty": {"X-Tenant: "}, "other": {"X-Tenant: 18"}, "two": {"X-Tenant: 17", "X-Tenant: 18"}, "same twice": {"X-Tenant: 17", "X-Tenant: 17"},
			"any": {"X-Tenant: *"}, "list": {"X-Tenant: 17, 18"}, "hidden from the upstream": {"X-Tenant: 17", "Connection: X-Tenant"}, "alias": {"X_Tenant: 17"}, "placeholder": {"X-Tenant: {http.request.header.X-Y}", "X-Y: 17"}} {
			s.refused("tenant "+what, s.raw("GET /h/x HTTP/1.1", append(headers, k.bearer())...), ambiguous...)
		}
	}},
	{"B26_kinds_of_matchers", func(s *scene) {
		for _, matcher := range []string{"path /admin/*", "path_regexp ^/admin/", "expression `{http.request.uri.path}.startsWith('/admin/')`", "expression `path('/admin/*')`", "url_pattern /admin/*",
			"not path /public/*", "not not path /admin/*", "path /x /admin/* /y", "path *min/*", "path /a*n/*", "path /{http.request.uri.path.0}/*", "path %61dmin/* /adm%69n/%*"} {
			policy := "@adm {\n" + matcher + "\n}\napi_key {\nrequire /public/* read\nrequire @adm admin\n}\nreverse_proxy {$UPSTREAM}"
			s.load(policy)
			for _, target := range []string{"/admin/x", "/%61dmin/x", "/%61%64%6d%69%6e/x", "/ADMIN/x", "/admin%2fx", "/admin/./x", "/public/../admin/x", "/Admin%2Fx", "/admin/", "/admin/%78"} {
				s.refused(matcher+": "+target, s.raw("GET "+target+" HTTP/1.1", s.reader.bearer()), ambiguous...)
			}
		}
		s.load("@open not path /private /private/*\napi_key {\npublic @open\nrequire /private* read\n}\nreverse_proxy {$UPSTREAM}")
		for _, target := range []string{"/private", "/private/x", "/PRIVATE/x", "/priv%61te/x", "/x/../private/x", "/private%2fx", "/./private/x", "//private/x", `/private\x`, "/private;x", "/%u0070rivate/x"} {
			s.refused("not: "+target, s.raw("GET "+target+" HTTP/1.1"), unproven...)
		}
	}},
	{"B27_matcher_that_fails", func(s *scene) {
		s.load("@high expression `int({http.request.uri.query.level}) > 3`\napi_key {\nrequire * read\nrequire @high admin\n}\nreverse_proxy {$UPSTREAM}")
		s.reached("low", s.get("/x?level=1", s.reader.bearer()), "GET /x?level=1 HTTP/1.1")
		s.refused("high", s.get("/x?level=9", s.reader.bearer()), http.StatusForbidden)
		for _, query := range []string{"level=abc", "", "level=", "level=9e", "level=99999999999999999999", "level=9&level=1", "level=0x9"} {
			s.refused(query, s.raw("GET /x?"+query+" HTTP/1.1", s.writer.bearer()), http.StatusServiceUnavailable, http.StatusForbidden)
		}
	}},
	{"B28_where_the_handler_stands", func(s *scene) {
		for what, layout := range map[string]string{
			"handle":          "handle /admin/* {\n%s\nreverse_proxy {$UPSTREAM}\n}\nhandle {\nrespond 404\n}",
			"handle_path":     "handle_path /api/* {\n%s\nreverse_proxy {$UPSTREAM}\n}\nhandle {\n%s\nreverse_proxy {$UPSTREAM}\n}",
			"route":           "route {\n%s\nreverse_proxy {$UPSTREAM}\n}",
			"nested routes":   "route {\nroute {\n%s\n}\nroute {\nreverse_proxy {$UPSTREAM}\n}\n}",
			"behind a handle": "%s\nhandle /admin/* {\nreverse_proxy {$UPSTREAM}\n}\nhandle {\nreverse_proxy {$UPSTREAM}\n}",
			"written last":    "reverse_proxy {$UPSTREAM}\n%s",
			"error route":     "handle {\nerror 418\n}\nhandle_errors {\n%s\nreverse_proxy {$UPSTREAM}\n}",
			"two hosts":       "@h host 127.0.0.1\nhandle @h {\n%s\nreverse_proxy {$UPSTREAM}\n}",
		} {
			s.load(strings.ReplaceAll(layout, "%s", "api_key {\nrequire /admin/* admin\n}"))
			s.refused(what+", no key", s.get("/admin/x"), http.StatusUnauthorized)
			s.refused(what+", reader", s.get("/admin/x", s.reader.bearer()), http.StatusForbidden)
			s.refused(what+", elsewhere", s.get("/adminx", s.admin.bearer()), http.StatusForbidden, http.StatusNotFound)
			s.accepted(what, s.get("/admin/x", s.admin.bearer()))
		}
		for what, layout := range map[string]string{
			"named route":       "invoke guarded\nreverse_proxy {$UPSTREAM}\n}\n&(guarded) {\n%s",
			"whole named route": "invoke guarded\n}\n&(guarded) {\nroute {\n%s\nreverse_proxy {$UPSTREAM}\n}",
		} {
			s.load(fmt.Sprintf(layout, "api_key {\nrequire /admin/* admin\n}"))
			s.refused(what, s.get("/admin/x", s.reader.bearer()), http.StatusForbidden)
			s.reached(what, s.get("/admin/x", s.admin.bearer()), "GET /admin/x HTTP/1.1")
		}
	}},
	{"B29_http2_paths", func(s *scene) {
		s.Load(cleartextH2, site)
		bearer := lower(s.reader.bearer())
		s.reached("plain", s.h2(append(s.head("GET", "/public/x"), bearer)...), "GET /public/x HTTP/1.1")
		for _, path := range []string{"/public/../admin/x", "/public/a#/../admin/x", "*", "", "admin/x", "//admin/x", "http://" + s.Site + "/admin/x", "http://x/admin/x", "http:/admin/x", "/public/x y", "/public/\r\nx",
			"/public/x HTTP/1.1\r\nX: y", "/public/\x00", "/admin/x?", `/public/..\admin`, "?x", "http://" + s.Site, "/public/%2e%2e/admin/x", "/public/\u00e9/..;/admin/x"} {
			s.refused(fmt.Sprintf("%q", path), s.h2(append(s.head("GET", path), bearer)...), http.StatusBadRequest, http.StatusForbidden, reset)
		}
		for _, method := range []string{"delete", "", "G ET", "GET\r\n", "PROPFIND", "get"} {
			s.refused(fmt.Sprintf("method %q", method), s.h2(append(s.head(method, "/public/x"), bearer)...), http.StatusBadRequest, http.StatusMethodNotAllowed, reset)
		}
		for what, fields := range map[string][]string{
			"two paths": append(s.head("GET", "/public/x"), ":path: /admin/x"), "two methods": append(s.head("GET", "/public/x"), ":method: DELETE"),
			"pseudo-header behind a header": {":method: GET", ":scheme: http", bearer, ":authority: " + s.Site, ":path: /public/x"},
			"no path":                       {":method: GET", ":scheme: http", ":authority: " + s.Site}, "no scheme": {":method: GET", ":path: /public/x", ":authority: " + s.Site},
			"unknown pseudo-header": append(s.head("GET", "/public/x"), ":admin: 1"), "status": append(s.head("GET", "/public/x"), ":status: 200"),
		} {
			s.refused(what, s.h2(append(fields, bearer)...), http.StatusBadRequest, reset)
		}
	}},
	{"B30_unicode", func(s *scene) {
		s.refusedTargets("/public/%c0%ae%c0%ae/admin/x", "/public/%c0%af../admin", "/public/%e0%80%ae%e0%80%ae/admin", "/public/%u002e%u002e/admin", "/public/%uff0e/x", "/public/%ff", "/public/\xc0\xae\xc0\xae/admin", "/public/%f8%80%80%80%ae/x",
			"/public/%ed%a0%80", "/public/%c3", "/public/%2", "/public/%", "/public/%zz", "/%c1%81dmin/x")
		for _, target := range []string{"/%EF%BD%81dmin/x", "/adm%C4%B1n/x", "/\u212aelvin", "/%EF%BC%8Fadmin/x", "/publ\u0131c/x", "/publi%C7%84/x", "/admin\u200b/x", "/%C5%BF"} {
			s.refused(target, s.raw("GET "+target+" HTTP/1.1", s.reader.bearer()), ambiguous...)
		}
		s.load("api_key {\npublic /kelvin\nrequire /skill/* read\n}\nreverse_proxy {$UPSTREAM}")
		for _, target := range []string{"/%E2%84%AAelvin", "/\u212aelvin", "/KELVIN"} {
			s.refused(target, s.raw("GET "+target+" HTTP/1.1"), http.StatusUnauthorized)
		}
		s.refused("Kelvin sign", s.raw("GET /s%E2%84%AAill/x HTTP/1.1", s.reader.bearer()), http.StatusForbidden)
	}},
	{"B31_relaxed_checks_stay_apart", func(s *scene) {
		s.load(strings.Replace(site, "api_key {", "api_key {\nrelax encoded_slash path_parameters backslash double_encoding", 1))
		for _, target := range []string{"/public%2f..%2fadmin", "/public/..%2fadmin/x", `/public/..\admin`, "/public/..;/admin/x", "/public/%5c..%5cadmin", "/public%2f%2fadmin", "/%2fadmin/x", `/public/\x`, "/public/..;a=b%2fadmin", "/public/%2e%2e;/admin"} {
			s.refused(target, s.raw("GET "+target+" HTTP/1.1", s.reader.bearer()), http.StatusBadRequest)
		}
		s.reached("an id with a slash", s.raw("GET /public/a%2Fb HTTP/1.1", s.reader.bearer()), "GET /public/a%2Fb HTTP/1.1")
	}},
	{"B32_exempt_endings", func(s *scene) {
		s.load("@css path *.css\napi_key {\npublic @css\npublic /assets/*\nrequire * admin\n}\nreverse_proxy {$UPSTREAM}")
		for _, target := range []string{"/admin/x;.css", "/admin/x%3b.css", "/admin/x%00.css", "/admin/x?.css", "/admin/x?a=/y.css", "/admin/x#.css", `/admin/x\y.css`, "/admin/x.CSS", "/admin/x.css%20", "/admin/x%0a.css", "/admin/x.css/", "/admin/x%2ecs%73%2f",
			"/admin/x%2f.css", "/admin/x//.css", "/assets/../admin/x.css", "/assets/..%2fadmin", "/assets", "/Assets/x", "/assets%2fx", "/admin/../x.css", "/admin/%2e%2e/x.css", "/admin/x%252e.css"} {
			s.refused(target, s.raw("GET "+target+" HTTP/1.1"), unproven...)
		}
		s.reached("a style sheet", s.raw("GET /x%2ecss HTTP/1.1"), "GET /x%2ecss HTTP/1.1")
	}},
}

// refusedTargets sends each target with the reader's key.
func (s *scene) refusedTargets(targets ...string) {
	s.t.Helper()
	for _, target := range targets {
		s.refused(fmt.Sprintf("%q", target), s.raw("GET "+target+" HTTP/1.1", s.reader.bearer()), ambiguous...)
	}
}

// rewrites is B12: the path is rewritten in front of the rules or behind them.
func rewrites(s *scene) {
	const policy = "api_key {\nrequire /public/* read\nrequire /admin/* admin\n}\n"
	const outside = "api_key {\nrequire /api/public/* read\nrequire /api/admin/* admin\n}\n"
	for what, c := range map[string]struct {
		site    string
		refused []string
	}{
		"handle_path in front":  {"handle_path /api/* {\n" + policy + "reverse_proxy {$UPSTREAM}\n}\nrespond 403", nil},
		"strip_prefix in front": {"uri strip_prefix /api\n" + policy + "reverse_proxy {$UPSTREAM}", []string{"/apiadmin/x", "/api%61dmin/x", "/apiadmin"}},
		"replace in front":      {"uri replace /api/ /\n" + policy + "reverse_proxy {$UPSTREAM}", []string{"/api/api/admin/x", "/admin/api/x", "/public/.api/./admin/x", "/public/./api/./admin"}},
		"regexp in front":       {"uri path_regexp ^/api/ /\n" + policy + "reverse_proxy {$UPSTREAM}", nil},
		"rewrite in front":      {"@api path_regexp api ^/api/(.*)$\nrewrite @api /{re.api.1}\n" + policy + "reverse_proxy {$UPSTREAM}", []string{"/api/admin%3fx", "/api/%3f/admin/x"}},
		"try_files in front":    {"try_files /nowhere {path}\nuri strip_prefix /api\n" + policy + "reverse_proxy {$UPSTREAM}", nil},
		"handle_path behind":    {outside + "handle_path /api/* {\nreverse_proxy {$UPSTREAM}\n}", []string{"/apiadmin/x"}},
		"strip_prefix behind":   {"route {\n" + outside + "uri strip_prefix /api\nreverse_proxy {$UPSTREAM}\n}", []string{"/apiadmin/x"}},
		"rewrite behind":        {"route {\n" + outside + "@api path_regexp api ^/api/(.*)$\nrewrite @api /{re.api.1}\nreverse_proxy {$UPSTREAM}\n}", nil},
	} {
		s.load(c.site)
		for _, target := range append(c.refused, "/api//admin/x", "/api/..%2fadmin/x", "/api/admin/x", "/api/%61dmin/x", "/api/../admin/x", "/api/public/../admin/x", "/api%2fadmin/x", "/api/public//../admin", "/api/;/admin/x",
			"/api/%2e%2e/admin/x", "/api/public/..%5cadmin", "/api/public/%252e%252e/admin/x", "/api/ADMIN/x", "/API//admin/x", "/api/./admin/x", "/api", "/api/") {
			s.refused(what+": "+target, s.raw("GET "+target+" HTTP/1.1", s.reader.bearer()), ambiguous...)
		}
		s.reached(what, s.raw("GET /api/public/x HTTP/1.1", s.reader.bearer()), "GET /public/x HTTP/1.1")
	}
}
