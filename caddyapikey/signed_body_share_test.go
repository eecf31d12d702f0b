package caddyapikey_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// begin sends the head of a signed request with a body of a given length, and
// returns the status of what the server answers to it: 100 says that it has room
// for the body, and waits for it until the test ends.
func (s *signer) begin(t *testing.T, path string, length int) int {
	t.Helper()
	req := sign(t, s.hawk, s.request(t, "POST", path, "{}"), time.Now())
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n", req.URL.RequestURI(), s.r.Site, length)
	for field, lines := range req.Header {
		head += field + ": " + lines[0] + "\r\n"
	}
	conn, err := net.Dial("tcp", s.r.Site)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// One key that begins bodies and never ends them must leave room for the bodies
// of all others.
func TestOneKeyCannotTakeTheRoomOfAllBodies(t *testing.T) {
	r := rig.New(t, "", strings.Replace(signedSite, "body_limit 1KiB", "body_limit 64MiB", 1))
	greedy, other := newSigner(t, r, exporter), newSigner(t, r, exporter)
	held := 0
	for held < 9 && greedy.begin(t, "/v1/export", 64<<20) == http.StatusContinue {
		held++
	}
	if held != 4 {
		t.Errorf("one key holds the room of %d bodies of 64 MiB, want 4 of 8", held)
	}
	answer := r.Do(sign(t, greedy.hawk, greedy.request(t, "POST", "/v1/export", "{}"), time.Now()))
	wantAnswer(t, answer, http.StatusTooManyRequests, "body_quota")
	if answer.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	answer = r.Do(sign(t, other.hawk, other.request(t, "POST", "/v1/export", "{}"), time.Now()))
	if answer.Status != http.StatusOK {
		t.Fatalf("another key: status %d %s", answer.Status, answer.Body)
	}

	// Each further key may take as much as it leaves free, until there is none.
	if status := other.begin(t, "/v1/export", 64<<20); status != http.StatusContinue {
		t.Errorf("another key's long body: status %d", status)
	}
}

// Answers that are held back until they are signed take room, too: a client that
// asks for many and reads none would otherwise have them all kept.
func TestHeldAnswersTakeRoom(t *testing.T) {
	site := strings.Replace(signedSite, "body_limit 1KiB", "body_limit 64MiB", 1)
	r := rig.New(t, "", strings.Replace(site, "bewit 10m", "bewit 10m\nserver_authorization hash", 1))
	greedy, other := newSigner(t, r, exporter), newSigner(t, r, exporter)
	hashed := func(s *signer) bool {
		t.Helper()
		answer := r.Do(sign(t, s.hawk, s.request(t, "GET", "/v1/export", ""), time.Now()))
		authorization := answer.Header.Get("Server-Authorization")
		if answer.Status != http.StatusOK || string(answer.Body) != "upstream" || authorization == "" {
			t.Fatalf("status %d %q, %q", answer.Status, answer.Body, authorization)
		}
		return strings.Contains(authorization, "hash=")
	}
	if !hashed(greedy) || !hashed(other) {
		t.Fatal("answers are signed without their body")
	}
	for range 4 {
		if status := greedy.begin(t, "/v1/export", 64<<20); status != http.StatusContinue {
			t.Fatalf("status %d", status)
		}
	}
	if hashed(greedy) {
		t.Error("an answer is held for a key that has its share")
	}
	if !hashed(other) {
		t.Error("an answer of another key is not held")
	}
}
