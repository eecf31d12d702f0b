package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// order tells the client process to send requests to one server.
type order struct {
	Addr   string
	Status int // the one that every answer must have
	Slice  time.Duration
	Conns  int
	First  int // the tokens of the keys First … First+Keys-1, in turns
	Keys   int

	Signed *signedBy // sign with Hawk instead of sending a token
}

// signedBy is the key that signs.
type signedBy struct{ ID, Secret string }

// tally is the client's answer.
type tally struct {
	Requests int
	Took     time.Duration // until the last answer
	Err      string
}

// playClient obeys orders until its input ends. Connections stay open between
// orders.
func playClient(p pipes) error {
	pool := make(map[string][]*conn)
	for {
		var o order
		if err := p.out.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var t tally
		var err error
		if t.Requests, t.Took, err = o.send(pool); err != nil {
			t.Err = err.Error()
		}
		if err := p.in.Encode(t); err != nil {
			return err
		}
	}
}

// send keeps every connection busy for the slice, one request at a time.
func (o *order) send(pool map[string][]*conn) (requests int, took time.Duration, err error) {
	for len(pool[o.Addr]) < o.Conns {
		c, err := dial(o.Addr, len(pool[o.Addr]))
		if err != nil {
			return 0, 0, err
		}
		pool[o.Addr] = append(pool[o.Addr], c)
	}
	var signer *hmacsig.HawkSigner
	if o.Signed != nil {
		key, err := hmacsig.SecretKey([]byte(o.Signed.Secret))
		if err != nil {
			return 0, 0, err
		}
		signer = &hmacsig.HawkSigner{ID: o.Signed.ID, Key: key}
	}
	began := time.Now()
	deadline := began.Add(o.Slice)
	counts, errs := make([]int, o.Conns), make([]error, o.Conns)
	var wg sync.WaitGroup
	for i, c := range pool[o.Addr][:o.Conns] {
		wg.Go(func() {
			for errs[i] == nil && time.Now().Before(deadline) {
				errs[i] = c.call(o, signer)
				counts[i]++
			}
		})
	}
	wg.Wait()
	took = time.Since(began)
	for _, n := range counts {
		requests += n
	}
	return requests, took, errors.Join(errs...)
}

// conn is one keep-alive connection. It writes prepared bytes and reads no more
// of an answer than it must: status and length.
type conn struct {
	net.Conn
	in      *bufio.Reader
	request []byte // up to the credential
	next    int    // the key whose turn it is
}

func dial(addr string, number int) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	request := "GET " + target + " HTTP/1.1\r\nHost: " + addr + "\r\nUser-Agent: crm-sync/2.1\r\nAccept: application/json\r\nAuthorization: "
	buffer := append(make([]byte, 0, 1024), request...)
	// Connections begin far apart, so that they do not share cached keys.
	return &conn{c, bufio.NewReader(c), buffer, number * 7919}, nil
}

// target is what all requests ask for.
const target = "/v1/contacts?limit=50"

// appendCredential appends the value of Authorization.
func (c *conn) appendCredential(request []byte, o *order, signer *hmacsig.HawkSigner) ([]byte, error) {
	if signer == nil {
		request = appendToken(append(request, "Bearer "...), o.First+c.next%o.Keys)
		c.next++
		return request, nil
	}
	r, err := http.NewRequest(http.MethodGet, "http://"+o.Addr+target, nil)
	if err != nil {
		return nil, err
	}
	if err := signer.Sign(r); err != nil {
		return nil, err
	}
	return append(request, r.Header.Get("Authorization")...), nil
}

func (c *conn) call(o *order, signer *hmacsig.HawkSigner) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	request, err := c.appendCredential(c.request, o, signer)
	if err != nil {
		return err
	}
	if _, err := c.Write(append(request, "\r\n\r\n"...)); err != nil {
		return err
	}
	status, length := 0, -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if status == 0 {
			if len(line) < 12 {
				return fmt.Errorf("%s answers %q", o.Addr, line)
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return err
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return err
			}
		}
	}
	if status != o.Status || length < 0 {
		return fmt.Errorf("%s answers with status %d and length %d, want %d", o.Addr, status, length, o.Status)
	}
	_, err = c.in.Discard(length)
	return err
}
