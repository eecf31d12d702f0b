//go:build linux

package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestStalledUploads sends uploads that are refused and whose body never comes.
// The clients neither send nor close.
func TestStalledUploads(t *testing.T) {
	const id = "R24"
	s := newServer(t)
	s.start()
	tokens := []string{"", "ck_nobody", s.revoked("revoked")}
	before, err := s.files()
	if err != nil {
		t.Fatal(err)
	}
	const batch = 200
	var mu sync.Mutex
	var answers, ends []time.Duration
	failures := 0
	var first error
	uploads := amount(400, 10_000)
	peak := 0
	for done := 0; done < uploads; done += batch {
		var wg sync.WaitGroup
		for i := range batch {
			wg.Go(func() {
				answer, end, err := stalledUpload(s.site, tokens[i%len(tokens)])
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failures++
					first = err
					return
				}
				answers, ends = append(answers, answer), append(ends, end)
			})
		}
		wg.Wait()
		if n, err := s.files(); err == nil {
			peak = max(peak, n-before)
		}
	}
	after := 0
	began := time.Now()
	for after = before + 1; after > before && time.Since(began) < patience; {
		if after, err = s.files(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // until the last handles are closed
	}
	must(t, id, "refused uploads whose body never comes: no right answer", "0", failures == 0, "%d of %d, %d at a time; %s", failures, uploads, batch, errText(first))
	within(t, id, "the refusal reaches the client", "1 s", time.Second, quantile(answers, 1), "median %s, slowest %s", milliseconds(quantile(answers, 0.5)), milliseconds(quantile(answers, 1)))
	note(t, id, "the server has closed the connection, after the request", "1 s", quantile(ends, 1) < time.Second, "median %s, slowest %s", milliseconds(quantile(ends, 0.5)), milliseconds(quantile(ends, 1)))
	if slowest := quantile(ends, 1); slowest > atMost(5*time.Second) {
		t.Errorf("a connection was kept for %v", slowest)
	}
	must(t, id, "open files after, to before", "0", after <= before, "%+d", after-before)
}

// stalledUpload announces a body and waits for the server to give up. It
// returns when the answer and when the end of the connection came.
func stalledUpload(addr, token string) (answer, end time.Duration, err error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	began := time.Now()
	if err := conn.SetDeadline(began.Add(2 * patience)); err != nil {
		return 0, 0, err
	}
	request := "POST /v1/contacts HTTP/1.1\r\nHost: " + addr + "\r\nContent-Length: 1000000000\r\n"
	if token != "" {
		request += "Authorization: Bearer " + token + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return 0, 0, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, 0, err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, 0, err
	}
	answer = time.Since(began)
	if resp.StatusCode != http.StatusUnauthorized {
		return 0, 0, fmt.Errorf("status %d", resp.StatusCode)
	}
	// The server's side is closed for writing first, and gone when it answers
	// what we send with a reset.
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return 0, 0, fmt.Errorf("not the end: %w", err)
	}
	for {
		if _, err := conn.Write([]byte("x")); err != nil {
			return answer, time.Since(began), nil
		}
		time.Sleep(10 * time.Millisecond) // nothing but a refused write shows that it is gone
	}
}

// TestSendingUploads sends uploads that are answered at once to the end, to a
// site that refuses them and to one without keys. Clients read while they send.
func TestSendingUploads(t *testing.T) {
	s := newServer(t)
	s.start()
	uploads := amount(20, 200)
	answered := make(map[string]int)
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	for range uploads {
		for addr, want := range map[string]int{s.site: http.StatusUnauthorized, s.bare: http.StatusOK} {
			req, err := http.NewRequest("POST", "http://"+addr+"/v1/contacts", io.LimitReader(zeros{}, 20<<20))
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = 20 << 20
			resp, err := client.Do(req)
			if err != nil {
				continue
			}
			resp.Body.Close()
			if resp.StatusCode == want {
				answered[addr]++
			}
		}
	}
	// An answer that its reader takes half a second to come to is lost, here or
	// there: beside other work that happens.
	must(t, "R24", "uploads of 20 MB that are sent to the end: the client gets the refusal", "as often as the answer of bare `respond`", answered[s.site] >= answered[s.bare]*amount(5, 9)/10,
		"%d of %d; bare %d", answered[s.site], uploads, answered[s.bare])
}
