package attack

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// reset stands in place of a status when an HTTP/2 server answers a stream or
// the whole connection with an error instead of a response.
const reset = 0

// cleartextH2 is the global option with which the scene speaks HTTP/2 without
// TLS, so that tests can write its frames by hand.
const cleartextH2 = "servers {\nprotocols h1 h2c\n}"

// h2conn writes HTTP/2 frames that no client library would.
type h2conn struct {
	s       *scene
	conn    net.Conn
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
}

// dialH2 opens a connection to a scene whose configuration has cleartextH2.
func (s *scene) dialH2() *h2conn {
	s.t.Helper()
	conn, err := net.DialTimeout("tcp", s.Site, time.Minute)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c := &h2conn{s: s, conn: conn, framer: http2.NewFramer(conn, conn)}
	c.framer.AllowIllegalWrites = true
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	_, _ = conn.Write([]byte(http2.ClientPreface))
	_ = c.framer.WriteSettings()
	return c
}

// head is the pseudo-header fields of a request, as lines of the form
// "name: value".
func (s *scene) head(method, path string) []string {
	return []string{":method: " + method, ":scheme: http", ":authority: " + s.Site, ":path: " + path}
}

// headers sends a HEADERS frame. A line is cut at the first ": " behind its
// first byte, so that pseudo-header fields can be written.
func (c *h2conn) headers(stream uint32, end bool, fields ...string) {
	c.block.Reset()
	for _, line := range fields {
		name, value, _ := strings.Cut(line[1:], ": ")
		_ = c.encoder.WriteField(hpack.HeaderField{Name: line[:1] + name, Value: value})
	}
	// A server that already gave up closes; what it said is read by answers.
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: end,
	})
}

func (c *h2conn) data(stream uint32, end bool, body string) {
	_ = c.framer.WriteData(stream, end, []byte(body))
}

// answers reads until each of the streams has its response or its error.
func (c *h2conn) answers(streams ...uint32) map[uint32]rig.Answer {
	c.s.t.Helper()
	got, done := make(map[uint32]rig.Answer), make(map[uint32]bool)
	for len(done) < len(streams) {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			// The server closes a connection that it cannot make sense of.
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				c.s.t.Errorf("HTTP/2: no answer: %v", err)
			}
			return got
		}
		id := frame.Header().StreamID
		answer := got[id]
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			if answer.Header == nil {
				answer.Header = make(http.Header)
			}
			for _, field := range f.Fields {
				answer.Header.Add(strings.TrimPrefix(field.Name, ":"), field.Value)
			}
			answer.Status, _ = strconv.Atoi(answer.Header.Get("Status"))
			done[id] = f.StreamEnded()
		case *http2.DataFrame:
			answer.Body = append(answer.Body, f.Data()...)
			done[id] = f.StreamEnded()
		case *http2.RSTStreamFrame:
			done[id] = true
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return got
			}
		}
		if id != 0 {
			got[id] = answer
		}
		if !done[id] {
			delete(done, id)
		}
	}
	return got
}

// h2 sends one request without a body on a connection of its own.
func (s *scene) h2(fields ...string) func() rig.Answer { return s.h2body("", fields...) }

// h2body is h2 with a body.
func (s *scene) h2body(body string, fields ...string) func() rig.Answer {
	return func() rig.Answer {
		s.t.Helper()
		c := s.dialH2()
		defer c.conn.Close()
		c.headers(1, body == "", fields...)
		if body != "" {
			c.data(1, true, body)
		}
		return c.answers(1)[1]
	}
}

// lower makes a header line one of HTTP/2, whose names are in lower case.
func lower(line string) string {
	name, value, _ := strings.Cut(line, ": ")
	return fmt.Sprintf("%s: %s", strings.ToLower(name), value)
}
