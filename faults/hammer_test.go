//go:build linux

package faults

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// hammering sends very many requests over a few connections, several at a time on
// each (pipelined), and compares each answer's status.
type hammering struct {
	addr         string
	conns, depth int
	first, count int64
	// request appends what stands between the request line's method and the end of
	// the headers, and returns the status that the answer must have.
	request func(dst []byte, number int64) ([]byte, int)
}

// run returns how many answers had another status.
func (h hammering) run() (wrong int64, err error) {
	var next, bad atomic.Int64
	errs := make([]error, h.conns)
	var wg sync.WaitGroup
	for i := range h.conns {
		wg.Go(func() { errs[i] = h.connection(&next, &bad) })
	}
	wg.Wait()
	return bad.Load(), errors.Join(errs...)
}

func (h hammering) connection(next, bad *atomic.Int64) error {
	conn, err := net.DialTimeout("tcp", h.addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	var out []byte
	var want []int
	for {
		from := next.Add(int64(h.depth)) - int64(h.depth)
		if from >= h.count {
			return nil
		}
		out, want = out[:0], want[:0]
		for n := from; n < min(from+int64(h.depth), h.count); n++ {
			var status int
			out = append(out, "GET "...)
			out, status = h.request(out, h.first+n)
			out = append(append(append(out, "\r\nHost: "...), h.addr...), "\r\n\r\n"...)
			want = append(want, status)
		}
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
		if _, err := conn.Write(out); err != nil {
			return err
		}
		for _, status := range want {
			got, err := readAnswer(in)
			if err != nil {
				return err
			}
			if got != status {
				bad.Add(1)
			}
		}
	}
}

// readAnswer reads an answer that has a length, and returns its status.
func readAnswer(in *bufio.Reader) (status int, err error) {
	length := -1
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case first && len(line) >= 12:
			status, err = strconv.Atoi(string(line[9:12]))
		case len(line) == 0 && length < 0:
			err = fmt.Errorf("an answer without a length, status %d", status)
		case len(line) == 0:
			_, err = in.Discard(length)
			return status, err
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.Atoi(string(value))
		}
		if err != nil {
			return 0, err
		}
	}
}
