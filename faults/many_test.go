//go:build linux

package faults

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// wide is a site of which one part is recorded call by call, and closed to the
// keys of the test. Of what the server logs a sample is kept.
const wide = `@public path /public/*
	@admin path /admin/*
	api_key {
		name wide
		require @public contacts:read
		require @admin admin:all {
			audit
		}
	}
	respond "ok"`

// logLines is how many lines of one text the log keeps of a second.
const logLines = 5

// metric sums the samples of a metric whose labels have a text in them.
func (s *server) metric(name, label string) (sum int64) {
	s.t.Helper()
	resp, err := oneShot.Get("http://" + s.admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(\{.*\})? (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			s.t.Fatal(err)
		}
		if strings.Contains(m[1], label) {
			sum += int64(n)
		}
	}
	return sum
}

// useOf is what the record of use has of a key.
type useOf struct{ Requests, Refused int64 }

// used waits until what is recorded of a key is written, for a few seconds.
func (s *server) used(id string, want useOf) (got useOf) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) { // it is written each second
		if err := json.Unmarshal(s.mustManage("GET", "/keys/"+id+"/usage?since=30d", "").body, &got); err != nil {
			s.t.Fatal(err)
		}
		if got == want || time.Now().After(deadline) {
			return got
		}
	}
}

// refusedIn reads from the trail how many refusals of a key have an entry, and
// how many are counted in entries. It waits for the first.
func (s *server) refusedIn(id string) (entries, counted int64) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); entries == 0 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var page struct {
			Entries []struct {
				Decision   string
				Suppressed int64
			}
		}
		if err := json.Unmarshal(s.mustManage("GET", "/audit?trail=calls&limit=500&key="+id, "").body, &page); err != nil {
			s.t.Fatal(err)
		}
		for _, e := range page.Entries {
			if e.Decision == "refused" {
				entries, counted = entries+1, counted+1+e.Suppressed
			}
		}
	}
	return entries, counted
}

// TestManyRequests sends very many requests of which half are refused, from ever
// other addresses and with ever other paths: they are counted exactly, whatever
// is left out of logs, and what is kept of them does not grow.
func TestManyRequests(t *testing.T) {
	const id = "R37"
	s := newServer(t)
	text := strings.Replace(s.caddyfile(wide, ""), "servers {", fmt.Sprintf("metrics\n\tlog default {\n\t\tsampling {\n\t\t\tinterval 1s\n\t\t\tfirst %d\n\t\t\tthereafter 1000000\n\t\t}\n\t}\n\tservers {\n\t\ttrusted_proxies static 127.0.0.0/8\n\t\ttrusted_proxies_strict", logLines), 1)
	s.writeConfig(text)
	s.start()
	key, token := s.mustCreate("one")
	count := int64(amount(20_000, 10_000_000))
	began := time.Now()
	run := func(first, count int64) {
		t.Helper()
		wrong, err := hammering{addr: s.site, conns: 4, depth: 32, first: first, count: count, request: func(dst []byte, n int64) ([]byte, int) {
			part, credential, status := "public", token, http.StatusOK
			switch n % 4 {
			case 1:
				part, status = "admin", http.StatusForbidden
			case 3:
				credential, status = tokenOf(1<<40+int(n)), http.StatusUnauthorized
			}
			return fmt.Appendf(dst, "/%s/%d?n=%d HTTP/1.1\r\nAuthorization: Bearer %s\r\nX-Forwarded-For: 198.%d.%d.%d", part, n, n, credential, 18+n>>18&1, n>>10&255, n>>2&255), status
		}}.run()
		if err != nil || wrong > 0 {
			t.Fatalf("%d wrong answers, %v", wrong, err)
		}
	}
	const kept = "caddy_api_keys_record_used_bytes"
	run(0, count/10)
	want := useOf{count / 10 * 3 / 4, count / 10 / 4}
	if got := s.used(key.ID, want); got != want {
		t.Errorf("a tenth: %+v, want %+v", got, want)
	}
	early, before := s.metric(kept, ""), s.mustResources()
	run(count/10, count-count/10)
	took := time.Since(began)
	want = useOf{count * 3 / 4, count / 4}
	got := s.used(key.ID, want)
	const decisions = "caddy_api_keys_decisions_total"
	allowed, scope, unknown := s.metric(decisions, `result="allowed"`), s.metric(decisions, `reason="insufficient_scope"`), s.metric(decisions, `reason="invalid_key"`)
	late, after := s.metric(kept, ""), s.mustResources()
	entries, counted := s.refusedIn(key.ID)
	lines := int64(strings.Count(s.logs(), "\"refused\""))
	hours := 1 + int64(took/time.Hour)

	must(t, id, fmt.Sprintf("%d requests over HTTP/1.1, pipelined, half refused: use recorded of the key, to what was sent", count), "exact", got == want,
		"%d requests, %d of them refused, in %.0f s", got.Requests, got.Refused, took.Seconds())
	must(t, id, "decisions counted in the metrics: let in, refused to the key, refused to unknown keys", "exact", allowed == count/2 && scope == count/4 && unknown == count/4,
		"%d, %d, %d", allowed, scope, unknown)
	must(t, id, "lines about refusals in a log that is sampled", "a sample", lines > 0 && lines < scope/2, "%d of %d", lines, scope)
	must(t, id, "entries in the trail of calls for those refused to the key; each counts those before it", "one a minute", entries > 0 && entries <= int64(took.Minutes())+2 && counted <= scope,
		"%d, counting %d of %d", entries, counted, scope)
	must(t, id, "bytes in use in the record of use after a tenth and after all", "+8 MB an hour", late > 0 && late-early <= hours<<23, "%s, %s", megabytes(early), megabytes(late))
	note(t, id, "memory (heap) after a tenth and after all", "+16 MB", after.heap-before.heap <= 16<<20, "%s, %s", megabytes(before.heap), megabytes(after.heap))
}

func (s *server) mustResources() resources {
	s.t.Helper()
	r, err := s.resources()
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}
