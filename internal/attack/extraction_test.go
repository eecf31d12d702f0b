package attack

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// extraction is class A: the credential of a request can be read in two ways, or
// is none.
var extraction = []attack{
	{"A01_header_on_two_lines", func(s *scene) {
		for _, pair := range [][2]caller{{s.reader, s.admin}, {s.admin, s.reader}, {s.reader, s.reader}} {
			for _, path := range []string{"/public/x", "/admin/x"} {
				s.refused("X-API-Key twice", s.raw("GET "+path+" HTTP/1.1", pair[0].header(), pair[1].header()), http.StatusBadRequest)
				s.refused("Authorization twice", s.raw("GET "+path+" HTTP/1.1", pair[0].bearer(), pair[1].bearer()), http.StatusBadRequest)
			}
		}
	}},
	{"A02_two_places", func(s *scene) {
		s.refused("header and query", s.get("/public/x?"+s.admin.query(), s.reader.bearer()), http.StatusBadRequest)
		s.refused("valid header, junk query", s.get("/public/x?api_key=junk", s.reader.bearer()), http.StatusBadRequest)
		s.refused("junk header, valid query", s.get("/public/x?"+s.reader.query(), "X-API-Key: junk"), http.StatusBadRequest)
		s.refused("both headers", s.get("/public/x", s.reader.bearer(), s.reader.header()), http.StatusBadRequest)
		s.refused("empty header, valid query", s.raw("GET /public/x?"+s.reader.query()+" HTTP/1.1", "X-API-Key:"), http.StatusBadRequest)
		s.refused("valid header, empty query", s.get("/public/x?api_key=", s.reader.header()), http.StatusBadRequest)
	}},
	{"A03_two_keys_in_one_value", func(s *scene) {
		for _, value := range []string{"%s, Bearer %s", "%s %s", "%s,%s", "%s;%s", "%s, %s"} {
			for _, path := range []string{"/public/x", "/admin/x"} {
				both := fmt.Sprintf(value, s.reader.token, s.admin.token)
				s.refused("bearer "+value, s.raw("GET "+path+" HTTP/1.1", "Authorization: Bearer "+both), unproven...)
				s.refused("header "+value, s.raw("GET "+path+" HTTP/1.1", "X-API-Key: "+both), unproven...)
			}
		}
	}},
	{"A04_spelling_of_the_scheme", func(s *scene) {
		for _, scheme := range []string{"bearer ", "BEARER ", "bEaReR ", "Bearer   "} {
			s.reached(scheme, s.raw("GET /public/x HTTP/1.1", "Authorization: "+scheme+s.reader.token), "GET /public/x HTTP/1.1")
		}
		for _, scheme := range []string{
			"Bearer\u00a0", "\uff22earer ", "Bea\u200brer ", "Bearer\u200b ", "Bearer\u3000", "Bearer\t\t", "Bearer\t", "Bearer \t",
			"Bearer:", "Bearer: ", "Bearer", "Bearer=", "Bearers ", "Bearer,", "\ufeffBearer ", "Bearer\xa0", "B\u0435arer ",
		} {
			s.refused(fmt.Sprintf("%q", scheme), s.raw("GET /public/x HTTP/1.1", "Authorization: "+scheme+s.reader.token), unproven...)
		}
	}},
	{"A05_empty_and_broken_keys", func(s *scene) {
		// Records that an empty or a zero value could hit, if one were looked up.
		for _, digest := range []string{hex.EncodeToString(sha256.New().Sum(nil)), strings.Repeat("00", 32)} {
			s.Manage("POST", "/import", `{"keys":[{"name":"trap","scopes":["*"],"sha256":"`+digest+`"}]}`)
		}
		key := s.reader.token
		for _, line := range []string{
			"X-API-Key:", "X-API-Key:   ", "Authorization:", "Authorization: Bearer", "Authorization: Bearer   ",
			"X-API-Key: " + key[:9] + " " + key[9:], "X-API-Key: " + key + "\v", "X-API-Key: " + key + "\f", "X-API-Key: \x00" + key,
			"X-API-Key: %63" + key[1:], "Authorization: Bearer %63" + key[1:], "X-API-Key: null", "X-API-Key: undefined",
		} {
			s.refused(fmt.Sprintf("%.14q…", line), s.raw("GET /public/x HTTP/1.1", line), unproven...)
		}
		for _, query := range []string{"api_key=", "api_key", "api_key=%00", "api_key=%20", "api_key=+"} {
			s.refused(query, s.get("/public/x?"+query), unproven...)
		}
	}},
	{"A06_forms_of_the_query", func(s *scene) {
		r, a := s.reader.token, s.admin.token
		for _, query := range []string{
			"api_key=" + r + "&api_key=" + a, "api_key=" + a + "&api_key=" + r, "api_key=" + r + "&api_key=", "api%5fkey=" + r, "api_key[]=" + r,
			"API_KEY=" + r, "api_key=" + r + ";x=1", "x=1;api_key=" + r, "api_key=%zz&api_key=" + a, "api_key=" + a + "&api_key=%zz",
			"api_key=" + r + "&api%5Fkey=" + a, "api_key=" + r + "&api_key[]=" + a, "api_key=" + r + "&API_KEY=" + a,
			"api_key=" + r + "&api_key;=" + a, "api_key=" + r + "&x=1;api_key=" + a, "api_key=%zz", "api.key=" + r, "api+key=" + r,
		} {
			for _, path := range []string{"/public/x?", "/admin/x?"} {
				s.refused(s.mask(query), s.raw("GET "+path+query+" HTTP/1.1"), unproven...)
			}
		}
		s.reached("exactly one", s.get("/public/x?a=1&api_key="+r+"&b=2"), "GET /public/x?a=1&b=2 HTTP/1.1")
		s.reached("percent-encoded value", s.get("/public/x?api_key=%63"+r[1:]), "GET /public/x HTTP/1.1")
	}},
	{"A07_aliases_of_the_header", func(s *scene) {
		for _, name := range []string{"X_API_Key", "X.API.Key", "X_API-Key", "x-api-key ", "X-API-Key\t", "X-API-Key\x00", " X-API-Key", "X-API\u2010Key"} {
			s.refused(fmt.Sprintf("%q", name), s.raw("GET /public/x HTTP/1.1", name+": "+s.reader.token), unproven...)
		}
		s.Load("servers {\nexpected_underscore_headers X_API_Key\nexpected_dot_headers X.API.Key\n}", site)
		for _, name := range []string{"X_API_Key", "X.API.Key"} {
			s.refused("kept "+name, s.raw("GET /public/x HTTP/1.1", name+": "+s.reader.token), http.StatusUnauthorized)
		}
	}},
	{"A08_public_parts_of_a_key", func(s *scene) {
		digest := sha256.Sum256([]byte(s.reader.token))
		shown := s.Manage("GET", "/keys/"+s.reader.id, "").JSON(s.t)
		hint := shown["credentials"].([]any)[0].(map[string]any)["hint"].(string)
		for what, value := range map[string]string{
			"id": s.reader.id, "hint": hint, "masked": hint + strings.Repeat("*", 20), "hint with an ellipsis": hint + "…",
			"digest": hex.EncodeToString(digest[:]), "digest in capitals": strings.ToUpper(hex.EncodeToString(digest[:])),
			"digest in base64": base64.StdEncoding.EncodeToString(digest[:]), "digest in base64url": base64.RawURLEncoding.EncodeToString(digest[:]),
			"named digest": "sha256:" + hex.EncodeToString(digest[:]), "digest as a token": "ck_" + hex.EncodeToString(digest[:]),
			"raw digest": string(digest[:]), "name": "reader",
		} {
			s.refused(what+" as bearer", s.raw("GET /public/x HTTP/1.1", "Authorization: Bearer "+value), unproven...)
			s.refused(what+" in the header", s.raw("GET /public/x HTTP/1.1", "X-API-Key: "+value), unproven...)
		}
	}},

	{"A21_variants_of_basic", func(s *scene) {
		s.load(strings.Replace(site, "from bearer", "from basic", 1))
		basic := func(text string) string {
			return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(text))
		}
		send := func(line string) func() rig.Answer { return s.raw("GET /public/x HTTP/1.1", line) }
		s.secrets = append(s.secrets, basic("u:" + s.reader.token)[21:])
		s.reached("user and password", send(basic("u:"+s.reader.token)), "GET /public/x HTTP/1.1")
		s.reached("no user", send(basic(":"+s.reader.token)), "GET /public/x HTTP/1.1")
		good := basic("uu:" + s.reader.token)
		for what, line := range map[string]string{
			"no colon": basic(s.reader.token), "token as user": basic(s.reader.token + ":"),
			"two colons": basic("u:x:" + s.reader.token), "colon behind": basic("u:" + s.reader.token + ":"), "NUL": basic("u:" + s.reader.token + "\x00"),
			"line break": basic("u:" + s.reader.token + "\n"), "no base64": "Authorization: Basic u:" + s.reader.token,
			"padding cut": strings.TrimRight(good, "="), "more padding": good + "=", "more padding 2": good + "==", "inner space": good[:30] + " " + good[30:],
			"text behind": good + " x", "comma": good + ", " + good[15:], "bearer": s.reader.bearer(), "tab": strings.Replace(good, "Basic ", "Basic\t", 1),
			"empty": "Authorization: Basic", "only a colon": basic(":"), "UTF-16": basic("u\x00:\x00" + s.reader.token),
		} {
			if what == "padding cut" && !strings.HasSuffix(good, "=") {
				s.t.Fatal("the example has no padding")
			}
			s.refused(what, send(line), unproven...)
		}
		// The password is the key, whoever the user claims to be.
		s.refused("two tokens", send(basic(s.reader.token+":"+s.admin.token)), http.StatusForbidden)
	}},
	{"A22_variants_of_the_cookie", func(s *scene) {
		s.load(strings.Replace(site, "from bearer", "from cookie session", 1))
		r, a := s.reader.token, s.admin.token
		send := func(headers ...string) func() rig.Answer { return s.raw("GET /public/x HTTP/1.1", headers...) }
		s.reached("alone", send("Cookie: session="+r), "GET /public/x HTTP/1.1")
		s.reached("among others", send("Cookie: a=1; session="+r+"; b=2"), "GET /public/x HTTP/1.1", "Cookie: a=1; b=2")
		for what, lines := range map[string][]string{
			"two": {"Cookie: session=" + r + "; session=" + a}, "two lines": {"Cookie: session=" + r, "Cookie: session=" + a},
			"quoted": {`Cookie: session="` + r + `"`}, "one of two quoted": {`Cookie: session="` + r + `"; session=` + a},
			"blank before =": {"Cookie: session =" + r}, "no-break space": {"Cookie: \u00a0session=" + r + "; session=" + a}, "other case": {"Cookie: Session=" + r},
			"longer name": {"Cookie: xsession=" + r}, "host prefix": {"Cookie: __Host-session=" + r}, "comma": {"Cookie: a=b, session=" + r},
			"attribute": {`Cookie: $Version="1", session=` + r}, "encoded name": {"Cookie: %73ession=" + r}, "encoded value": {"Cookie: session=%63" + r[1:]},
			"empty": {"Cookie: session="}, "no value": {"Cookie: session"}, "comma behind": {"Cookie: session=" + r + ",x"}, "Set-Cookie": {"Set-Cookie: session=" + r},
			"Cookie2": {"Cookie2: session=" + r}, "and a header": {"Cookie: session=" + r, s.reader.header()}, "underscore": {"Cookie_: session=" + r},
			"newline in a quote": {"Cookie: a=\"1; session=" + r + "\"; session=" + a},
		} {
			s.refused(what, send(lines...), unproven...)
		}
	}},
	{"A23_more_forms_of_the_query", func(s *scene) {
		r, a := s.reader.token, s.admin.token
		many := strings.Repeat("a=1&", 1000)
		s.reached("1,000 parameters", s.get("/public/x?"+many+"api_key="+r), "GET /public/x?"+strings.TrimSuffix(many, "&")+" HTTP/1.1")
		s.reached("empty names", s.get("/public/x?&=&&api_key="+r+"&=1"), "GET /public/x?&=&&=1 HTTP/1.1")
		for _, query := range []string{
			"?api_key=" + r, "api_key%00=" + r, "api_key%00x=" + r, "%20api_key=" + r, "+api_key=" + r, "api%20key=" + r, "api_key%5B%5D=" + r, "api_key[0]=" + r,
			"api_key=" + r + "&%61pi_key=" + a, "api_key=" + r + "%00", "api_key=" + r + "%0a", "api_key=+" + r, "api_key=%20" + r, "api_key=" + r + "%26api_key=" + a,
			"api_key==" + r, "api_key=" + r + "=", "api_key=%2563" + r[1:], "api_key=%u0063" + r[1:], "\uff41pi_key=" + r, "key=" + r, "access_token=" + r,
			"x=api_key=" + r, "x%26api_key=" + r, "x=%26api_key=" + r, "a%70i%5fkey=" + r, many + "api_key=" + r + "&" + many + "api_key=" + a,
		} {
			s.refused(fmt.Sprintf("%.40s", s.mask(query)), s.raw("GET /public/x?"+query+" HTTP/1.1"), unproven...)
		}
	}},
	{"A24_long_keys", func(s *scene) {
		tooLong := http.StatusRequestHeaderFieldsTooLarge
		for _, n := range []int{1, 100, 8 << 10, 64 << 10, 512 << 10} {
			long := s.reader.token + strings.Repeat("A", n)
			s.refused(fmt.Sprint("header ", n), s.raw("GET /public/x HTTP/1.1", "X-API-Key: "+long), http.StatusUnauthorized, tooLong)
			s.refused(fmt.Sprint("bearer ", n), s.raw("GET /public/x HTTP/1.1", "Authorization: Bearer "+long), http.StatusUnauthorized, tooLong)
			s.refused(fmt.Sprint("query ", n), s.raw("GET /public/x?api_key="+long+" HTTP/1.1"), http.StatusUnauthorized, tooLong)
		}
	}},
	{"A25_white_space_and_folding", func(s *scene) {
		r := s.reader.token
		send := func(line string) func() rig.Answer { return s.raw("GET /public/x HTTP/1.1", line) }
		for _, line := range []string{"X-API-Key:" + r, "X-API-Key:\t" + r + " \t", "X-API-Key: \r\n " + r} {
			s.reached("optional white space", send(line), "GET /public/x HTTP/1.1")
		}
		for what, line := range map[string]string{
			"folded in the middle": "X-API-Key: " + r[:20] + "\r\n " + r[20:], "a second key folded in": "X-API-Key: " + r + "\r\n " + s.admin.token,
			"a header folded in": "X-API-Key: " + r + "\r\n X-API-Key: " + s.admin.token, "a scheme folded": "Authorization: Bearer\r\n\t" + r[:9] + "\r\n " + r[9:],
			"bare CR": "X-API-Key: " + r + "\rX-API-Key: " + s.admin.token, "no-break space": "X-API-Key: \u00a0" + r, "byte order mark": "X-API-Key: \ufeff" + r,
			"quotes": `X-API-Key: "` + r + `"`, "parameter": `Authorization: Bearer token="` + r + `"`, "padding": "Authorization: Bearer " + r + "=",
			"other case": "X-API-Key: " + strings.ToUpper(r), "comma": "X-API-Key: " + r + ",", "doubled": "X-API-Key: " + r + r,
		} {
			s.refused(what, send(line), unproven...)
		}
	}},
	{"A26_http2_fields", func(s *scene) {
		s.Load(cleartextH2, strings.Replace(site, "from bearer", "from bearer\nfrom cookie session", 1))
		r, a := s.reader.token, s.admin.token
		head := s.head("GET", "/public/x")
		s.reached("one", s.h2(append(head, "x-api-key: "+r)...), "GET /public/x HTTP/1.1")
		s.reached("cookie crumbs", s.h2(append(head, "cookie: a=1", "cookie: session="+r, "cookie: b=2")...), "GET /public/x HTTP/1.1", "Cookie: a=1; b=2")
		for what, fields := range map[string][]string{
			"two": {"x-api-key: " + r, "x-api-key: " + a}, "two authorizations": {"authorization: Bearer " + r, "authorization: Bearer " + a},
			"crumbs with two": {"cookie: session=" + r, "cookie: session=" + a}, "leading blank": {"x-api-key:  " + r}, "trailing blank": {"x-api-key: " + r + " "},
			"blank before the scheme": {"authorization:  Bearer " + r}, "capitals": {"X-API-Key: " + r}, "underscore": {"x_api_key: " + r},
			"line break": {"x-api-key: " + r + "\r\nx-api-key: " + a}, "NUL": {"x-api-key: " + r + "\x00"}, "blank in the name": {"x-api-key : " + r},
			"header and crumb": {"x-api-key: " + r, "cookie: session=" + r}, "colon in the name": {":x-api-key: " + r},
		} {
			s.refused(what, s.h2(append(head, fields...)...), http.StatusBadRequest, http.StatusUnauthorized, reset)
		}
	}},
	{"A27_places_that_nobody_named", func(s *scene) {
		r := s.reader.token
		for _, line := range []string{
			"Proxy-Authorization: Bearer " + r, "X-Authorization: Bearer " + r, "X-Auth-Token: " + r, "X-Original-Authorization: Bearer " + r,
			"X-Forwarded-Authorization: Bearer " + r, "Sec-WebSocket-Protocol: bearer, " + r, "Authentication: Bearer " + r, "Api-Key: " + r, "Cookie: api_key=" + r,
			"From: " + r, "WWW-Authenticate: Bearer " + r, "Authorization: " + r, "Authorization: Token " + r, "Authorization: ApiKey " + r, "Authorization: Basic " + r,
			"Authorization: Basic x, Bearer " + r, "Authorization: Digest Bearer " + r, "Authorization2: Bearer " + r, "Referer: http://x/?api_key=" + r,
		} {
			name, _, _ := strings.Cut(line, r)
			s.refused(name, s.raw("GET /public/x HTTP/1.1", line), http.StatusUnauthorized)
		}
		// The path is logged, so this key is not one of those looked for.
		_, r = s.Create(`{"name":"in the path","scopes":["read"]}`)
		for i, target := range []string{"/public/x/api_key=" + r, "/public/" + r, "http://" + r + "@" + s.Site + "/public/x", "/public/x?x=1#api_key=" + r} {
			s.refused(fmt.Sprint("target ", i), s.raw("GET "+target+" HTTP/1.1"), unproven...)
		}
		form := "api_key=" + s.writer.token
		s.refused("form", s.raw(fmt.Sprintf("POST /public/x HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d", len(form)), "X: 1"), http.StatusUnauthorized)
		s.refused("two schemes", s.raw("GET /public/x HTTP/1.1", "Authorization: Basic dTpw", s.reader.bearer()), http.StatusBadRequest)
		s.refused("two schemes", s.raw("GET /public/x HTTP/1.1", s.reader.bearer(), "Authorization: Basic dTpw"), http.StatusBadRequest)
	}},
	{"A28_very_many_headers", func(s *scene) {
		var noise, keys []string
		for i := range 120 {
			noise = append(noise, fmt.Sprintf("X-API-Key-%d: %s", i, s.admin.token))
			keys = append(keys, "X-API-Key: "+s.reader.token)
		}
		s.refused("noise", s.raw("GET /public/x HTTP/1.1", noise...), http.StatusUnauthorized)
		s.refused("120 lines", s.raw("GET /public/x HTTP/1.1", keys...), http.StatusBadRequest)
		s.refused("noise around two", s.raw("GET /public/x HTTP/1.1", append(append(noise, s.reader.header()), s.admin.header())...), http.StatusBadRequest)
	}},
	{"A29_key_in_a_trailer", func(s *scene) {
		for _, announced := range []string{"Trailer: X-API-Key", "Trailer: X-Checksum", "X: 1"} {
			s.refused(announced, s.bytes("POST /public/x HTTP/1.1\r\nHost: "+s.Site+"\r\n"+announced+"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"+s.writer.header()+"\r\n\r\n"), unproven...)
		}
	}},
	{"A30_keys_on_public_routes_go_nowhere", func(s *scene) {
		foreign := "Authorization: Bearer of-the-upstream"
		s.reached("one", s.get("/health", s.reader.bearer()), "GET /health HTTP/1.1")
		s.reached("beside what is the upstream's", s.get("/health", foreign, s.reader.header()), "GET /health HTTP/1.1", foreign)
		s.reached("in two places", s.get("/health?a=1&"+s.reader.query(), s.admin.header()), "GET /health?a=1 HTTP/1.1")
		s.reached("on two lines", s.get("/health", s.reader.header(), s.admin.header()), "GET /health HTTP/1.1")
		s.reached("twice in the query", s.get("/health?"+s.reader.query()+"&"+s.admin.query()), "GET /health HTTP/1.1")
		s.reached("suspended", func() rig.Answer {
			s.Manage("POST", "/keys/"+s.reader.id+"/suspend", "")
			return s.Get("/health", s.reader.bearer())
		}, "GET /health HTTP/1.1")
	}},
}
