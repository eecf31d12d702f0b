package rig

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
)

// Upstream is a server that answers every request with 200 and keeps the bytes
// of each as they came.
type Upstream struct {
	Addr string

	mu       sync.Mutex
	requests [][]byte
	respond  string // the raw response, "" for the usual one
}

func newUpstream(t testing.TB) *Upstream {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &Upstream{Addr: ln.Addr().String()}
	var conns sync.Map
	t.Cleanup(func() {
		ln.Close()
		conns.Range(func(conn, _ any) bool { conn.(net.Conn).Close(); return true })
	})
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Store(conn, nil)
			go u.serve(conn)
		}
	}()
	return u
}

// serve answers the requests of one connection. The proxy sends the next one
// only after the answer, so what was read since the last belongs to this one.
func (u *Upstream) serve(conn net.Conn) {
	defer conn.Close()
	var seen bytes.Buffer
	in := bufio.NewReader(io.TeeReader(conn, &seen))
	for {
		seen.Reset()
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		u.mu.Lock()
		u.requests = append(u.requests, slices.Clone(seen.Bytes()))
		respond := u.respond
		u.mu.Unlock()
		if respond == "" {
			respond = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\n"
			if req.Method != http.MethodHead {
				respond += "upstream"
			}
		}
		if _, err := fmt.Fprint(conn, respond); err != nil {
			return
		}
	}
}

// Respond sets the raw response to every later request, "" for the usual one.
func (u *Upstream) Respond(raw string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.respond = raw
}

// Hits returns how many requests came.
func (u *Upstream) Hits() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.requests)
}

// Last returns the bytes of the last request, "" if there was none.
func (u *Upstream) Last() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.requests) == 0 {
		return ""
	}
	return string(u.requests[len(u.requests)-1])
}
