package adminapi

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

// A client that takes nothing of an answer holds up nobody for long, such as an
// erasure, which waits until nobody walks through the counters.
func TestClientsThatTakeNothing(t *testing.T) {
	before := answerWait
	t.Cleanup(func() { answerWait = before })
	answerWait = 300 * time.Millisecond
	s := newServer(t)
	id, _ := s.create(`"owner":"dev@acme.example"`)
	record := testUse.Load().store
	now := time.Now().UTC()
	for day := range 4 { // ten megabytes of CSV
		b := usage.Batch{ID: [16]byte{byte(day + 1)}}
		at := now.AddDate(0, 0, -day)
		for i := range 19_000 {
			addr := netip.AddrFrom4([4]byte{10, byte(day), byte(i >> 8), byte(i)})
			b.Counters = append(b.Counters, usage.Counter{
				Event: usage.Event{Key: id, Credential: 1, Place: usage.PlaceOf(addr)}, Hour: at.Truncate(time.Hour), Requests: 1, First: at, Last: at,
			})
		}
		if _, err := record.Add(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(conn, "GET /api_keys/report?format=csv&key=%s HTTP/1.1\r\nHost: %s\r\n\r\n", id, s.addr)
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(conn, make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	erased := make(chan reply, 1)
	go func() { erased <- s.do("POST", "erase", `{"key":"`+id+`"}`) }()
	select {
	case answer := <-erased:
		answer.want(200)
	case <-time.After(2 * time.Minute):
		t.Fatal("an erasure waits for a client that takes nothing")
	}
}
