package attack

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// management is class G: the admin API, as pages of other sites, strangers and
// sloppy programs reach it.
var management = []attack{
	{"G01_pages_of_other_origins", func(s *scene) {
		foreign := [][]string{
			{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"},
			{"Origin: https://evil.example"}, {"Origin: null"}, {"Origin: null", "Sec-Fetch-Mode: navigate"},
			{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Referer: https://evil.example/"},
		}
		bodies := map[string]string{"application/x-www-form-urlencoded": "name=x", "text/plain": `{"name":"x"}`, "multipart/form-data; boundary=x": "--x\r\n\r\n{\"name\":\"x\"}\r\n--x--\r\n", "application/json": `{"name":"x"}`, "": `{"name":"x"}`}
		s.routes(func(method, path string) {
			for _, headers := range foreign {
				what := method + " " + path + " " + headers[0]
				if method == http.MethodGet {
					answer := s.unchanged(what, s.admins(method, path, "", headers...), http.StatusForbidden, http.StatusBadRequest)
					s.unreadable(what, answer)
					continue
				}
				for contentType, body := range bodies {
					answer := s.unchanged(what+" "+contentType, s.untyped(method, path, body, append(headers, "Content-Type: "+contentType)...), http.StatusForbidden, http.StatusBadRequest)
					s.unreadable(what, answer)
				}
			}
			if method == http.MethodGet {
				return
			}
			for contentType, body := range bodies { // by a browser that tells nothing of itself
				if contentType != "application/json" {
					s.unchanged(method+" "+path+" "+contentType, s.untyped(method, path, body, "Content-Type: "+contentType), http.StatusUnsupportedMediaType)
				}
			}
			s.unchanged("preflight "+path, s.admins("OPTIONS", path, "", "Origin: https://evil.example", "Access-Control-Request-Method: "+method, "Access-Control-Request-Headers: content-type"), http.StatusForbidden)
		})
		s.routes(func(method, path string) {
			if method == http.MethodGet {
				for _, m := range []string{"GET", "HEAD"} {
					before := s.records()
					s.Manage(m, path, "")
					if s.records() != before {
						s.t.Errorf("%s %s changed something", m, path)
					}
				}
			}
		})
	}},
	{"G02_hosts_and_listeners", func(s *scene) {
		admin := s.atAdmin()
		_, port, _ := strings.Cut(s.Admin, ":")
		for _, host := range []string{"evil.example", "evil.example:" + port, "127.0.0.1.evil.example:" + port, "localhost.:" + port, "0.0.0.0:" + port, "127.0.0.2:" + port, "127.0.0.1:1", "127.1:" + port, "[::ffff:127.0.0.1]:" + port, "x@127.0.0.1:" + port, "127.0.0.1:" + port + ",evil.example", ""} {
			s.unchanged("host "+host, admin.bytes("GET /api_keys/keys HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"), http.StatusForbidden, http.StatusBadRequest)
			s.unchanged("host "+host, admin.bytes("POST /api_keys/keys HTTP/1.1\r\nHost: "+host+"\r\nContent-Type: application/json\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"name\":\"x\"}"), http.StatusForbidden, http.StatusBadRequest)
		}
		s.unchanged("the target names another host", admin.raw("GET http://evil.example/api_keys/keys HTTP/1.1"), http.StatusForbidden, http.StatusBadRequest)
		for _, listen := range []string{":", "0.0.0.0:", "[::]:"} {
			wild := *s
			inner := *s.Rig
			wild.Rig = &inner
			_, port, _ := strings.Cut(rig.FreeAddr(s.t), ":")
			wild.Admin = listen + port
			wild.load(site)
			wild.Site = "127.0.0.1:" + port
			for _, host := range []string{"evil.example:" + port, "127.0.0.1:" + port, "localhost:" + port} {
				for _, request := range []string{"GET /api_keys/keys HTTP/1.1\r\n", "GET /api_keys/health HTTP/1.1\r\n", "GET /api_keys/openapi.json HTTP/1.1\r\n", "GET /api_keys/backup HTTP/1.1\r\n", "POST /api_keys/keys/" + s.reader.id + "/revoke HTTP/1.1\r\n"} {
					wild.refused(listen+" "+host, wild.bytes(request+"Host: "+host+"\r\nConnection: close\r\n\r\n"), http.StatusForbidden)
				}
			}
		}
		s.load(site)
		s.accepted("not revoked", s.get("/public/x", s.reader.bearer()))
	}},
	{"G04_fields_of_the_server", func(s *scene) {
		path := "/keys/" + s.reader.id
		for _, member := range []string{`"id":"key_01htq9k3sdv7d2w8n4ex"`, `"digest":"x"`, `"sha256":"x"`, `"created_at":"2030-01-01T00:00:00Z"`, `"updated_at":null`, `"creator":"me"`, `"usage":0`, `"revoked":false`, `"state":"active"`, `"tenant":"x"`, `"revision":1`, `"credentials":[]`, `"rotation":null`, `"n":1`, `"hint":"x"`, `"ended_at":null`, `"token":"x"`, `"sealed":"x"`} {
			name, _, _ := strings.Cut(member[1:], `"`)
			for what, r := range map[string][3]string{
				"create": {"POST", "/keys", `{"name":"x",%s}`}, "edit": {"PATCH", path, `{"name":"x",%s}`}, "rotate": {"POST", path + "/rotate", `{%s}`}, "credential": {"POST", path + "/credentials", `{%s}`},
				"inner credential": {"POST", "/keys", `{"name":"x","credential":{%s}}`}, "org": {"PUT", "/orgs/x", `{%s}`}, "revoke": {"POST", path + "/revoke", `{%s}`}, "import": {"POST", "/import", `{"keys":[{"name":"x","secret":"0123456789abcdefghijklmnopqrstuvwxyz",%s}]}`},
			} {
				if what == "import" && (name == "token" || name == "sha256") {
					continue // are fields there
				}
				answer := s.unmanaged(what+" "+name, r[0], r[1], fmt.Sprintf(r[2], member), http.StatusBadRequest)
				if field, _ := answer.JSON(s.t)["field"].(string); field != name && !strings.HasSuffix(field, "."+name) {
					s.t.Errorf("%s %s: the refusal names %q", what, name, field)
				}
			}
		}
	}},
	{"G05_json_in_two_readings", func(s *scene) {
		path := "/keys/" + s.reader.id
		for _, body := range []string{`{"name":"x","scopes":["read"],"SCOPES":["admin"]}`, `{"name":"x","scopes":["read"],"scopes":["admin"]}`, `{"name":"x","scopes":["read"],"\u0073copes":["admin"]}`, `{"name":"x","ſcopes":["admin"]}`, `{"name":"x","scopeſ":["admin"]}`, `{"name":"x","Name":"y"}`,
			`{"name":"x","` + "\u212a" + `ind":"y"}`, `{"name":"x"}{"name":"y"}`, `{"name":"x"} x`, `{"name":"x"},`, `[{"name":"x"}]`, `{"name":"x","metadata":` + strings.Repeat(`{"a":`, 10000) + `1` + strings.Repeat("}", 10000) + "}", `{"name":"x","scopes":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + "}",
			`{"name":"x","expires_at":1e400}`, `{"name":1e400}`, `{"name":"\ud800"}`, "{\"name\":\"\xff\"}", "{\"name\":\"x\x00\"}", `{"name":"x",}`, `{"name":'x'}`, `{name:"x"}`, `{"name":"x"/*,"scopes":["admin"]*/}`, "\ufeff" + `{"name":"x"}`, `{"name":"x","metadata":{"a":"1","a":"2"}}`,
			`{"name":"x","metadata":{"a":"1","\u0061":"2"}}`, `{"name":"x","__proto__":{"scopes":["admin"]}}`, `null`, `""`, `{"name":NaN}`, `{"name":"x","scopes":null}`, `{"name":null}`, `{"name":"x`, `{"name":"x","org":{}}`, "{\"name\":\"x\"}\x00"} {
			s.unmanaged(body, "POST", "/keys", body, http.StatusBadRequest)
			s.unmanaged(body, "PATCH", path, body, http.StatusBadRequest)
		}
	}},
	{"G08_where_secrets_are", func(s *scene) {
		var secrets rig.Secrets
		answer := s.Manage("POST", "/keys", `{"name":"made","scopes":["read"]}`)
		token := s.secretOf(answer)
		id := answer.JSON(s.t)["key"].(map[string]any)["id"].(string)
		rotated := s.Manage("POST", "/keys/"+id+"/rotate", "")
		k := s.newSigning(`{"name":"signer","credential":{"kind":"shared_secret"}}`)
		secrets.Add("token", token)
		secrets.Add("rotated token", s.secretOf(rotated))
		secrets.Add("shared secret", k.secret)
		for what, a := range map[string]rig.Answer{"create": answer, "rotate": rotated} {
			if a.Header.Get("Cache-Control") != "no-store" {
				s.t.Errorf("%s: Cache-Control is %q", what, a.Header.Get("Cache-Control"))
			}
			if found := secrets.FindDigests(a.Body); len(found) > 0 {
				s.t.Errorf("%s: %v", what, found)
			}
		}
		for _, r := range [][3]string{{"GET", "/keys?limit=500", ""}, {"GET", "/keys/" + id, ""}, {"GET", "/keys/" + id + "/credentials", ""}, {"GET", "/keys/" + k.id, ""}, {"PATCH", "/keys/" + id, `{"owner":"x"}`}, {"POST", "/keys/" + id + "/suspend", ""}, {"POST", "/keys/" + id + "/resume", ""},
			{"POST", "/identify", `{"token":"` + token + `"}`}, {"DELETE", "/keys/" + id + "/rotate", ""}, {"POST", "/import", `{"keys":[{"name":"x","token":"` + token + `"}]}`}, {"POST", "/import", `{"keys":[{"name":"` + token + `","token":"` + token + `","x":1}]}`}, {"POST", "/keys", `{"` + token + `":1}`}, {"GET", "/keys/" + token, ""},
			{"GET", "/keys?" + token + "=1", ""}, {"POST", "/reseal", ""}, {"GET", "/health", ""}, {"GET", "/orgs", ""}, {"POST", "/keys/" + id + "/revoke", ""}} {
			a := s.Manage(r[0], r[1], r[2])
			if a.Header.Get("Cache-Control") != "no-store" {
				s.t.Errorf("%s %.9s: Cache-Control is %q", r[0], r[1], a.Header.Get("Cache-Control"))
			}
			if found := append(secrets.Find(a.Body), secrets.FindDigests(a.Body)...); len(found) > 0 {
				s.t.Errorf("%s %.9s: %v", r[0], r[1], found)
			}
		}
		s.secrets = s.secrets[:4] // Caddy logs the URLs of admin requests, which the page says
		if found := secrets.Find(s.Manage("GET", "/backup", "").Body); len(found) > 0 {
			s.t.Errorf("backup: %v", found)
		}
	}},
	{"G09_too_much", func(s *scene) {
		admin := s.atAdmin()
		const head = "POST /api_keys/keys HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\nHost: "
		s.unchanged("100 MB", admin.bytes(head+s.Admin+"\r\nContent-Length: 104857600\r\n\r\n{"), http.StatusRequestEntityTooLarge)
		s.unchanged("2^63", admin.bytes(head+s.Admin+"\r\nContent-Length: 9223372036854775807\r\n\r\n{"), http.StatusRequestEntityTooLarge)
		s.unchanged("chunks without end", admin.bytes(head+s.Admin+"\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("2000\r\n"+strings.Repeat(" ", 0x2000)+"\r\n", 20)), http.StatusRequestEntityTooLarge)
		s.unchanged("a body that ends early", admin.bytes(head+s.Admin+"\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{\"name\":\"x\"}\r\nx\r\n"), http.StatusBadRequest)
		s.unchanged("import of 100 MB", admin.bytes(strings.Replace(head, "/keys", "/import", 1)+s.Admin+"\r\nContent-Length: 104857600\r\n\r\n{"), http.StatusRequestEntityTooLarge)
		s.unchanged("a million entries", admin.bytes(head+s.Admin+"\r\nContent-Length: 4000030\r\n\r\n"+`{"name":"x","scopes":["a"`+strings.Repeat(`,"a"`, 1000)), http.StatusRequestEntityTooLarge)
		s.unchanged("a name of 2 MB", admin.bytes(head+s.Admin+"\r\nContent-Length: 2097164\r\n\r\n"+`{"name":"`+strings.Repeat("x", 1000)), http.StatusRequestEntityTooLarge)
		for _, body := range []string{`{"name":"x","scopes":["a"` + strings.Repeat(`,"a"`, 100) + `]}`, `{"name":"` + strings.Repeat("x", 201) + `"}`, `{"name":"x","tags":["` + strings.Repeat("x", 65) + `"]}`, `{"name":"x","metadata":{"a":"` + strings.Repeat("x", 501) + `"}}`} {
			s.unmanaged(body, "POST", "/keys", body, http.StatusBadRequest)
		}
		id := s.reader.id
		for _, target := range []string{"keys/..", "keys/../keys/" + id, "keys/%2e%2e/keys/" + id, "keys/" + id + "%2frevoke", "keys/" + id + "%2Frevoke", "keys%2f" + id + "/revoke", "keys/" + id + "%00/revoke", "keys/%00" + id + "/revoke", "keys/" + id + "/revoke/", "keys//" + id + "/revoke", "keys/" + id + "//revoke", "keys/" + id + "/./revoke",
			"keys/" + id + "/x/../revoke", "keys/" + id + ";/revoke", "keys/" + id + "%20/revoke", "keys/" + strings.ToUpper(id) + "/revoke", "keys/" + strings.Repeat("x", 10000) + "/revoke", "KEYS/" + id + "/revoke", "keys/" + id + "/REVOKE", "keys/" + id + "/revoke%00", "keys/*/revoke", "keys/" + id + "," + s.writer.id + "/revoke",
			"../api_keys/keys/" + id + "/revoke", "%2e%2e/api_keys/keys/" + id + "/revoke", "keys/" + id[:len(id)-1] + "/revoke", "keys/key_" + strings.Repeat("0", 20) + "/revoke", `keys\` + id + `\revoke`, "keys/" + id + "/revoke?x=1", "keys/" + id + "/revoke?", "keys/%ff%fe/revoke", "keys/" + id + "/%72evoke%2f"} {
			if strings.HasSuffix(target, "?") {
				continue // is the same resource
			}
			answer := s.unchanged(target, admin.raw("POST /api_keys/"+target+" HTTP/1.1"), http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusMovedPermanently, http.StatusTemporaryRedirect)
			if to := answer.Header.Get("Location"); to != "" && !strings.HasPrefix(to, "/api_keys/") {
				s.t.Errorf("%.40s: leads to %.40s", target, to)
			}
		}
		for _, target := range []string{"/api_keys", "/api_keysx/keys", "/api_keys%2fkeys", "/API_KEYS/keys", "/api_keys.json", "//api_keys/keys"} {
			if answer := admin.raw("GET " + target + " HTTP/1.1")(); answer.Status == http.StatusOK {
				s.t.Errorf("%s answers 200", target)
			}
		}
	}},
	{"G10_configuration", func(s *scene) {
		k := s.signer(signedSite) // has the master key made
		var secrets rig.Secrets
		secrets.Add("token", s.reader.token)
		secrets.Add("shared secret", k.secret)
		secrets.Add("master key", strings.TrimSpace(rig.ReadFile(s.t, s.StorePath()+".master_key")))
		config := s.send(http.DefaultClient, must(http.NewRequest("GET", "http://"+s.Admin+"/config/", nil)))()
		if config.Status != http.StatusOK || !strings.Contains(string(config.Body), "api_key") {
			s.t.Fatalf("no configuration: status %d", config.Status)
		}
		found := secrets.Find(config.Body)
		found = append(found, secrets.Find([]byte(s.Logs()))...)
		found = append(found, secrets.Find(s.Manage("GET", "/backup", "").Body)...)
		if len(found) > 0 {
			s.t.Errorf("%v", found)
		}
		s.t.Setenv("ATTACK_MASTER_KEY", keyring.NewMasterKey().Reveal())
		secrets.Add("referenced master key", os.Getenv("ATTACK_MASTER_KEY"))
		s.Load("api_keys {\nstore bolt "+filepath.Join(s.Dir, "referenced", "keys.db")+"\nmaster_key {env.ATTACK_MASTER_KEY}\n}", site)
		config = s.send(http.DefaultClient, must(http.NewRequest("GET", "http://"+s.Admin+"/config/", nil)))()
		if found := secrets.Find(config.Body); len(found) > 0 || !strings.Contains(string(config.Body), "{env.ATTACK_MASTER_KEY}") {
			s.t.Errorf("a reference to the master key is not kept as it is: %v", found)
		}
		if err := filepath.WalkDir(s.Dir, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && !strings.HasSuffix(path, ".master_key") {
				if found := secrets.Find([]byte(rig.ReadFile(s.t, path))); len(found) > 0 {
					s.t.Errorf("%s: %v", path, found)
				}
			}
			return err
		}); err != nil {
			s.t.Error(err)
		}
	}},

	{"G21_forged_cursors", func(s *scene) {
		gone := s.key(`{"name":"gone","scopes":["read"]}`)
		s.managed("POST", "/keys/"+gone.id+"/revoke", "")
		s.managed("DELETE", "/keys/"+gone.id, "")
		encode := base64.RawURLEncoding.EncodeToString
		for _, cursor := range []string{"x", "====", "%00", encode([]byte("x")), encode([]byte("key_")), encode([]byte("../")), encode([]byte(s.reader.token)), encode([]byte(s.reader.id + "\x00")), encode([]byte(s.reader.id + "/credentials")), encode([]byte(strings.ToUpper(s.reader.id))), s.reader.id,
			base64.StdEncoding.EncodeToString([]byte(s.reader.id + "?")), strings.Repeat("A", 10000), encode([]byte("acme")), encode([]byte("\xff\xff\xff\xff"))} {
			s.unmanaged("cursor "+cursor, "GET", "/keys?after="+cursor, "", http.StatusBadRequest)
		}
		for _, query := range []string{"after=" + encode([]byte("key_00000000000000000000")), "after=" + encode([]byte(gone.id)), "state=active", "q=gone", "limit=1"} {
			if answer := s.managed("GET", "/keys?"+query, ""); strings.Contains(answer, gone.id) {
				s.t.Errorf("%s: shows a deleted key", query)
			}
		}
		for _, query := range []string{"limit=0", "limit=-1", "limit=501", "limit=1e2", "limit=+1", "limit=01", "limit=", "limit=1&limit=500", "state=deleted", "state=ACTIVE", "State=active", "scope=*", "scope=a:*", "org=acme;x=1", "org=%zz", "x=1", "org=a&org=b", "api_key=x", "expiring_before=now"} {
			s.unmanaged(query, "GET", "/keys?"+query, "", http.StatusBadRequest)
		}
	}},
	{"G22_methods", func(s *scene) {
		path := "/keys/" + s.reader.id
		for _, method := range []string{"PUT", "DELETE", "get", "patch", "TRACE", "CONNECT", "LINK", "OPTIONS", "REVOKE", "PROPFIND"} {
			for _, at := range []string{"/keys", path + "/revoke", path + "/suspend", "/import", "/identify", "/backup"} {
				s.unchanged(method+" "+at, s.admins(method, at, ""), http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusNotFound, reset)
			}
		}
		for _, header := range []string{"X-HTTP-Method-Override: DELETE", "X-Method-Override: PATCH", "X-Original-URL: /api_keys/keys/" + s.reader.id + "/revoke"} {
			before := s.records()
			if answer := s.admins("GET", path, "", header)(); answer.Status != http.StatusOK || s.records() != before {
				s.t.Errorf("%s: status %d, or something was changed", header, answer.Status)
			}
		}
		s.unmanaged("_method", "POST", path+"?_method=DELETE", "", http.StatusMethodNotAllowed, http.StatusBadRequest)
	}},
	{"G23_names", func(s *scene) {
		for _, name := range []string{`a\r\nX: y`, `a\nb`, `a\u0000b`, `\u202egnp.exe`, `\u2066x`, `\u200bx`, `\ufeffx`, `\u0085x`, `\u2028x`, `\u001b[31m`, `\u007f`, `\u00adx`, `\ue000`, `\udb40\udc41`, `\u00a0x`, `\ufffe`} {
			for _, field := range []string{"name", "owner", "purpose", "org", "tier"} {
				s.unmanaged(field+" "+name, "PATCH", "/keys/"+s.reader.id, fmt.Sprintf(`{%q:"%s"}`, field, name), http.StatusBadRequest)
			}
			s.unmanaged("metadata "+name, "POST", "/keys", fmt.Sprintf(`{"name":"x","metadata":{"a":"%s"}}`, name), http.StatusBadRequest)
			s.unmanaged("metadata name "+name, "POST", "/keys", fmt.Sprintf(`{"name":"x","metadata":{"%s":"a"}}`, name), http.StatusBadRequest)
			s.unmanaged("tag "+name, "POST", "/keys", fmt.Sprintf(`{"name":"x","tags":["%s"]}`, name), http.StatusBadRequest)
			s.unmanaged("scope "+name, "POST", "/keys", fmt.Sprintf(`{"name":"x","scopes":["read%s"]}`, name), http.StatusBadRequest)
		}
		for _, scope := range []string{"", "*:", ":", "**", "re*d", "{http.request.uri.path}", "read,admin", "read admin", "read/../admin", "READ\\u0000", "*:*"} {
			if answer := s.Manage("POST", "/keys", fmt.Sprintf(`{"name":"x","scopes":["%s"]}`, scope)); answer.Status == http.StatusCreated {
				s.refused("scope "+scope, s.get("/admin/x", "X-API-Key: "+s.secretOf(answer)), http.StatusForbidden)
			}
		}
	}},
	{"G24_imports", func(s *scene) {
		sum := func(text string) string { d := sha256.Sum256([]byte(text)); return hex.EncodeToString(d[:]) }
		const own = "Jd7Qm2xWk9RtVb4Ns8Yc3Hf6"
		first := `{"name":"first","token":"` + own + `"}`
		for what, keys := range map[string]string{
			"same token twice": first + "," + first, "token and its digest": first + `,{"name":"x","sha256":"` + sum(own) + `"}`, "digest in two cases": `{"name":"x","sha256":"` + sum(own) + `"},{"name":"x","sha256":"` + strings.ToUpper(sum(own)) + `"}`,
			"digest of nothing": `{"name":"x","sha256":"` + sum("") + `"}`, "zeros": `{"name":"x","sha256":"` + strings.Repeat("0", 64) + `"}`, "empty": `{"name":"x","token":""}`, "no credential": `{"name":"x"}`, "two credentials": `{"name":"x","token":"` + own + `","sha256":"` + sum("y") + `"}`,
			"weak": `{"name":"x","token":"password"}`, "blanks": `{"name":"x","token":"` + own + ` x"}`, "line break": `{"name":"x","token":"` + own + `\r\nx"}`, "short digest": `{"name":"x","sha256":"` + sum("y")[:62] + `"}`, "digest with a blank": `{"name":"x","sha256":" ` + sum("y")[1:] + `"}`,
			"good and bad": first + `,{"name":""}`, "null": first + ",null", "past": `{"name":"x","token":"` + own + `","state":"active"}`, "long": `{"name":"x","token":"` + strings.Repeat("aB3", 3000) + `"}`, "no org": `{"name":"x","org":"nowhere","token":"` + own + `"}`,
		} {
			s.unmanaged(what, "POST", "/import", `{"keys":[`+keys+`]}`, http.StatusBadRequest)
		}
		for what, keys := range map[string]string{"a key's token": `{"name":"x","scopes":["admin"],"token":"` + s.reader.token + `"}`, "a key's digest": first + `,{"name":"x","scopes":["admin"],"sha256":"` + sum(s.reader.token) + `"}`} {
			s.unmanaged(what, "POST", "/import", `{"keys":[`+keys+`]}`, http.StatusConflict)
		}
		for _, body := range []string{`{"keys":[` + first + `],"keys":[]}`, `{"dry_run":true,"keys":[` + first + `],"dry_run":false}`, `{"keys":[` + first + `],"DRY_RUN":true}`, `{"keys":[` + first + `]}{}`, `{"keys":[]}`, `{}`, `{"keys":{}}`, `{"keys":[` + first + `],"dry_run":null}`, `{"keys":[` + first + `],"dry_run":"true"}`, `{"keys":[` + first} {
			s.unmanaged(body, "POST", "/import", body, http.StatusBadRequest)
		}
		s.unmanaged("dry run", "POST", "/import", `{"keys":[`+first+`],"dry_run":true}`, http.StatusOK)
		won := s.atOnce(20, func() rig.Answer { return s.Manage("POST", "/import", `{"keys":[`+first+`]}`) }, http.StatusOK, http.StatusConflict, http.StatusServiceUnavailable)
		if len(won) != 1 {
			s.t.Errorf("%d of 20 imports of one token were done", len(won))
		}
		s.refused("still the reader", s.get("/admin/x", s.reader.bearer()), http.StatusForbidden)
	}},
	{"G25_identify", func(s *scene) {
		digest := sha256.Sum256([]byte(s.reader.token))
		for _, token := range []string{s.reader.id, s.reader.token[:7], s.reader.token[:len(s.reader.token)-1], s.reader.token + " ", " " + s.reader.token, strings.ToLower(s.reader.token), hex.EncodeToString(digest[:]), base64.StdEncoding.EncodeToString(digest[:]), "*", "%", "' or 1=1", "Bearer " + s.reader.token} {
			s.unmanaged("not a token", "POST", "/identify", `{"token":"`+token+`","revoke":true}`, http.StatusNotFound)
		}
		for _, body := range []string{`{"token":""}`, `{}`, `{"token":null}`, `{"revoke":true}`, `{"token":"` + strings.Repeat("x", 5000) + `"}`, `{"token":"` + s.reader.token + `","revoke":"true"}`, `{"token":"` + s.reader.token + `","revoke":true,"revoke":false}`, `{"token":"` + s.reader.token + `","Revoke":true}`, `{"token":["` + s.reader.token + `"]}`} {
			s.unmanaged("body", "POST", "/identify", body, http.StatusBadRequest)
		}
		s.unmanaged("by GET", "GET", "/identify", "", http.StatusMethodNotAllowed)
		s.unmanaged("only asked", "POST", "/identify", `{"token":"`+s.reader.token+`"}`, http.StatusOK)
		s.accepted("not revoked", s.get("/public/x", s.reader.bearer()))
	}},
	{"G26_one_file_by_two_names", func(s *scene) {
		dir := filepath.Dir(s.StorePath())
		link, hard, soft := filepath.Join(s.Dir, "link"), filepath.Join(dir, "hard.db"), filepath.Join(dir, "soft.db")
		for _, err := range []error{os.Symlink(dir, link), os.Symlink(s.StorePath(), soft)} {
			if err != nil {
				s.t.Fatal(err)
			}
		}
		defer os.Remove(link) // cases after this one look at all files
		defer os.Remove(soft)
		try := func(path string) error { return s.TryLoad("api_keys {\nstore bolt "+path+"\n}", site) }
		for _, path := range []string{filepath.Join(link, "keys.db"), soft} {
			if try(path) == nil {
				s.t.Errorf("%s: the store's file is open by two names", path)
			}
			s.accepted("the configuration before", s.get("/public/x", s.reader.bearer()))
		}
		for _, path := range []string{dir + "/./keys.db", dir + "//keys.db", dir + "/x/../keys.db"} {
			if err := try(path); err != nil {
				s.t.Errorf("%s: %v", path, err)
			}
			s.accepted(path, s.get("/public/x", s.reader.bearer()))
		}
		if err := os.Link(s.StorePath(), hard); err != nil {
			s.t.Fatal(err)
		}
		if try(hard) == nil {
			s.t.Error("the store's file is open by a second hard link")
		}
		if err := os.Remove(hard); err != nil {
			s.t.Fatal(err)
		}
		k := s.key(`{"name":"after all","scopes":["read"]}`)
		s.accepted("after all", s.get("/public/x", k.bearer()))
	}},
	{"G27_content_types", func(s *scene) {
		const body = `{"name":"x"}`
		for _, contentType := range []string{"application/json; charset=utf-16", "application/jsonp", "application/json-patch+json", "text/json", "text/plain; application/json", "text/plain;a=application/json", "application/json, text/plain", "application/json;", "application/json; charset=utf-8; charset=utf-16", "application/", "json", "*/*", "application/ json", "application/json\x0b", "multipart/form-data"} {
			if contentType == "application/json;" {
				continue // is JSON
			}
			s.unchanged(contentType, s.untyped("POST", "/keys", body, "Content-Type: "+contentType), http.StatusUnsupportedMediaType, http.StatusBadRequest, reset)
		}
		s.unchanged("two lines", s.untyped("POST", "/keys", body, "Content-Type: application/json", "Content-Type: text/plain"), http.StatusUnsupportedMediaType)
		s.unchanged("none", s.untyped("POST", "/keys", body), http.StatusUnsupportedMediaType)
		s.unchanged("coded", s.untyped("POST", "/keys", "\x1f\x8b\x08\x00", "Content-Type: application/json", "Content-Encoding: gzip"), http.StatusBadRequest, http.StatusUnsupportedMediaType)
		s.unchanged("a browser without a body", s.untyped("POST", "/keys/"+s.reader.id+"/revoke", "", "Sec-Fetch-Site: same-origin", "Origin: http://"+s.Admin), http.StatusUnsupportedMediaType, http.StatusForbidden)
	}},
	{"G28_origins", func(s *scene) {
		host, port, _ := strings.Cut(s.Admin, ":")
		for _, origin := range []string{"null", "http://" + host, "http://" + host + ":1", "http://" + s.Admin + ".evil.example", "http://" + s.Admin + "@evil.example", "http://evil.example#" + s.Admin, "http://evil.example/" + s.Admin, "http://localhost.evil.example:" + port, "file://", "data:", "chrome-extension://x", "http://", "//" + s.Admin + ".x", " ", "http://evil.example http://" + s.Admin} {
			s.unchanged(origin, s.untyped("POST", "/keys", `{"name":"x"}`, "Content-Type: application/json", "Origin: "+origin), http.StatusForbidden, http.StatusBadRequest)
		}
		s.unchanged("two", s.untyped("POST", "/keys", `{"name":"x"}`, "Content-Type: application/json", "Origin: http://evil.example", "Origin: http://"+s.Admin), http.StatusForbidden, http.StatusBadRequest)
	}},
	{"G29_delete_against_rotate", func(s *scene) {
		for range 10 {
			k := s.key(`{"name":"raced","scopes":["read"]}`)
			var wg sync.WaitGroup
			for _, r := range [][2]string{{"POST", "/revoke"}, {"DELETE", ""}, {"POST", "/rotate"}, {"POST", "/resume"}, {"DELETE", ""}, {"POST", "/credentials"}, {"POST", "/suspend"}, {"DELETE", "/credentials/1"}} {
				wg.Go(func() {
					answer := s.Manage(r[0], "/keys/"+k.id+r[1], "")
					if answer.Status >= 500 {
						s.t.Errorf("%s %s: status %d", r[0], r[1], answer.Status)
					}
				})
			}
			wg.Wait()
			if answer := s.Manage("POST", "/keys/"+k.id+"/resume", ""); answer.Status != http.StatusConflict && answer.Status != http.StatusNotFound {
				s.t.Errorf("resumed after all: status %d", answer.Status)
			}
			s.refused("token", s.get("/public/x", k.bearer()), http.StatusUnauthorized)
		}
	}},
	{"G30_bodies_that_nobody_reads", func(s *scene) {
		path := "/keys/" + s.reader.id
		for _, at := range []string{"/revoke", "/suspend", "/resume"} {
			for _, body := range []string{`{"dry_run":true}`, `{"reason":"x"}`, `[]`, `null`, `{}{}`, "x"} {
				s.unmanaged(at+" "+body, "POST", path+at, body, http.StatusBadRequest)
			}
		}
		s.unmanaged("delete", "DELETE", path, `{"x":1}`, http.StatusBadRequest, http.StatusConflict)
		s.unmanaged("not revoked", "DELETE", path, "", http.StatusConflict)
		for _, n := range []string{"0", "2", "01", "+1", "-1", "1.0", "4294967297", "18446744073709551617", "1%00", "１", "x", "%31%20"} {
			s.unmanaged("credential "+n, "DELETE", path+"/credentials/"+n, "", http.StatusNotFound, http.StatusBadRequest)
		}
		for _, org := range []string{"..%2fx", "%2e", "%2e%2e", "a%20b", "a%00", "a%2fb", "%ef%bc%a1", strings.Repeat("x", 65), "a;b", "a%0d%0ab"} {
			s.unmanaged("org "+org, "PUT", "/orgs/"+org, "{}", http.StatusBadRequest, http.StatusNotFound, http.StatusMovedPermanently, http.StatusTemporaryRedirect)
		}
	}},
}

func must(req *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return req
}

// atAdmin is the scene with the admin endpoint in place of the site, for what is
// sent as raw bytes.
func (s *scene) atAdmin() *scene {
	admin, r := *s, *s.Rig
	r.Site = r.Admin
	admin.Rig = &r
	return &admin
}

// untyped is admins with the headers that are given only.
func (s *scene) untyped(method, path, body string, headers ...string) func() rig.Answer {
	return s.atAdmin().bytes(fmt.Sprintf("%s /api_keys%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n%s", method, path, s.Admin, len(body), lines(headers), body))
}

// routes calls f for every resource of the API, with the reader's key.
func (s *scene) routes(f func(method, path string)) {
	s.t.Helper()
	var description struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(s.Manage("GET", "/openapi.json", "").Body, &description); err != nil || len(description.Paths) < 10 {
		s.t.Fatalf("%d paths: %v", len(description.Paths), err)
	}
	for path, methods := range description.Paths {
		path = strings.TrimPrefix(strings.NewReplacer("{id}", s.reader.id, "{org}", "acme", "{n}", "1").Replace(path), "/api_keys")
		for method := range methods {
			if method = strings.ToUpper(method); slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, method) {
				f(method, path)
			}
		}
	}
}

// unreadable checks that an answer tells a page of another origin nothing.
func (s *scene) unreadable(what string, answer rig.Answer) {
	s.t.Helper()
	for name := range answer.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			s.t.Errorf("%s: the answer has %s", what, name)
		}
	}
	if strings.Contains(string(answer.Body), s.reader.id) {
		s.t.Errorf("%s: the answer shows a key", what)
	}
}
