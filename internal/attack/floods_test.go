package attack

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// until repeats something that will be so, but not at once.
func (s *scene) until(what string, so func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not in time: %s", what)
		}
	}
}

// opened sends the beginning of a request to an address and leaves the
// connection open.
func (s *scene) opened(addr, head string) net.Conn {
	s.t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := io.WriteString(conn, head); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// floods are attacks of class J with much of what is cheap for the client.
var floods = []attack{
	{"J26_lines_of_the_log_that_are_long_to_search", func(s *scene) {
		log := filepath.Join(s.Dir, "j26.log")
		s.Load("servers {\nmax_header_size 1MB\n}", "log {\noutput file "+log+"\nformat redact_api_keys\n}\n"+site)
		// Each would have to be read to the end of the line, for as long as an
		// answer is waited for many times over.
		for _, part := range []string{"bewit%3D", "bewit=", "api_key%253D", "api_key%3Dx%26", "%62ewit%3d", "ck_%61", "ck_", "Signature:", "_%25", `\u003d`, "%5C", strings.Repeat("a", 48) + "_", strings.Repeat("a", 300) + "%3D"} {
			text := strings.Repeat(part, 700<<10/len(part))
			for what, head := range map[string]string{
				"in the query": "GET /public/x?" + text + " HTTP/1.1", "in a header": "GET /public/x HTTP/1.1\r\nX-Text: " + text,
			} {
				if answer := s.bytes(head + "\r\nHost: " + s.Site + "\r\nConnection: close\r\n\r\n")(); !slices.Contains(unproven, answer.Status) {
					s.t.Errorf("%.20q %s: status %d", part, what, answer.Status)
				}
			}
		}
		s.accepted("a caller", s.get("/public/x", s.reader.bearer()))
		if text := rig.ReadFile(s.t, log); strings.Count(text, "\n") < 26 || !strings.Contains(text, "bewit%3D[redacted]") {
			s.t.Errorf("%d bytes were logged", len(text))
		}
	}},
	{"J27_followers_that_stay", func(s *scene) {
		const many, bound = 100, 64
		goroutines := int64(runtime.NumGoroutine())
		head := "GET /api_keys/keys/" + s.reader.id + "/calls?follow=true HTTP/1.1\r\nHost: " + s.Admin + "\r\n\r\n"
		var conns []net.Conn
		follow := func() int {
			conn := s.opened(s.Admin, head)
			conns = append(conns, conn)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				s.t.Fatal(err)
			}
			return resp.StatusCode
		}
		statuses := make(map[int]int)
		for range many {
			statuses[follow()]++
		}
		if let := statuses[http.StatusOK]; let == 0 || let > bound || statuses[http.StatusServiceUnavailable] != many-let {
			s.t.Errorf("%d followers: statuses %v, want at most %d let in", many, statuses, bound)
		}
		for range 3000 { // more than waits for any of them, who do not read
			s.get("/public/x", s.reader.bearer())()
		}
		s.accepted("a caller", s.get("/public/x", s.reader.bearer()))
		s.managed("GET", "/keys/"+s.reader.id+"/calls", "")
		for _, conn := range conns {
			conn.Close()
		}
		s.until("another one may follow", func() bool { return follow() == http.StatusOK })
		for _, conn := range conns {
			conn.Close()
		}
		s.settles("goroutines", goroutines+30, func() int64 { return int64(runtime.NumGoroutine()) })
	}},
	{"J28_signed_bodies_that_never_come", func(s *scene) {
		k := s.signer(strings.Replace(signedSite, "64KiB", "64MiB", 1))
		other := s.newSigning(`{"name":"other","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		post := func(k signing) rig.Answer { return s.Do(k.signed(k.message, "POST", "/x", "body", time.Now())) }
		var conns []net.Conn
		for range 4 { // a quarter of a gigabyte, of which not a byte comes
			req := k.signed(k.message, "POST", "/x", "body", time.Now())
			conns = append(conns, s.opened(s.Site, "POST /x HTTP/1.1\r\nHost: "+s.Site+"\r\nContent-Length: 67108864\r\nContent-Digest: "+req.Header.Get("Content-Digest")+
				"\r\nSignature-Input: "+req.Header.Get("Signature-Input")+"\r\nSignature: "+req.Header.Get("Signature")+"\r\n\r\n"))
		}
		s.until("the key has its share", func() bool { return post(k).Reason() == "body_quota" })
		if answer := post(k); answer.Status != http.StatusTooManyRequests {
			s.t.Errorf("beyond its share: status %d", answer.Status)
		}
		if answer := post(other); answer.Status != http.StatusOK {
			s.t.Errorf("another key: status %d %s", answer.Status, answer.Body)
		}
		s.accepted("without a body", s.copyOf(k.signed(k.message, "GET", "/x", "", time.Now()), ""))
		for _, conn := range conns {
			conn.Close()
		}
		s.until("the room is given back", func() bool { return post(k).Status == http.StatusOK })
	}},
	{"J29_streams_that_are_reset_at_once", func(s *scene) {
		s.Load(cleartextH2, strings.Replace(site, "require  @read  read", "require  @read  read {\naudit\n}", 1))
		goroutines := int64(runtime.NumGoroutine())
		for range 10 {
			c := s.dialH2()
			for stream := uint32(1); stream < 800; stream += 2 {
				c.headers(stream, stream%4 == 1, append(s.head("GET", "/public/x"), "authorization: Bearer "+s.reader.token)...)
				_ = c.framer.WriteRSTStream(stream, http2.ErrCodeCancel)
			}
			c.conn.Close()
		}
		s.settles("goroutines", goroutines+30, func() int64 { return int64(runtime.NumGoroutine()) })
		s.accepted("a caller", s.get("/public/x", s.reader.bearer()))
		if verified := s.Manage("GET", "/audit/verify", ""); verified.Status != http.StatusOK || strings.Contains(string(verified.Body), `"intact":false`) {
			s.t.Errorf("the trail: %d %s", verified.Status, verified.Body)
		}
	}},
	{"J30_very_many_organisations", func(s *scene) {
		s.Load("metrics", site)
		var keys []caller
		for i := range 60 {
			s.managed("PUT", fmt.Sprintf("/orgs/j30-%d", i), fmt.Sprintf(`{"title":"%d"}`, i))
			keys = append(keys, s.key(fmt.Sprintf(`{"name":"j30","org":"j30-%d","scopes":["read"],"tags":["t%d"],"limits":["%d/1h"]}`, i, i, 1000+i)))
		}
		one := func(keys []caller) func(i int) *http.Request {
			return func(i int) *http.Request {
				path := "/public/x"
				if i%2 == 0 {
					path = "/admin/x"
				}
				return s.to("GET", path, keys[i%len(keys)].bearer())
			}
		}
		s.flood(50, one(append([]caller{s.reader}, keys[0])))
		s.series()
		before := s.series()
		if statuses := s.flood(1_200, one(keys)); statuses[200] != 600 || statuses[403] != 600 {
			s.t.Errorf("statuses %v", statuses)
		}
		added := slices.DeleteFunc(s.series(), func(name string) bool { return slices.Contains(before, name) })
		if len(added) > 0 || len(before) < 20 {
			s.t.Errorf("new series %q after %d", added, len(before))
		}
	}},
}
