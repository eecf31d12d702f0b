package rig

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Answer is a response that was read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the body into a tree.
func (a Answer) JSON(t testing.TB) map[string]any {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal(a.Body, &tree); err != nil {
		t.Fatalf("status %d, no JSON object: %q", a.Status, a.Body)
	}
	return tree
}

// Reason returns the reason of a refusal: the fragment of its problem type.
func (a Answer) Reason() string {
	var p struct{ Type string }
	_ = json.Unmarshal(a.Body, &p)
	_, reason, _ := strings.Cut(p.Type, "#")
	return reason
}

// Manage sends a management request; body is JSON, or "" for none.
func (r *Rig) Manage(method, path, body string) Answer {
	r.t.Helper()
	for try := 0; ; try++ {
		req, err := http.NewRequest(method, "http://"+r.Admin+"/api_keys"+forced(method, path), strings.NewReader(body))
		if err != nil {
			r.t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		req.Close = true
		answer, err := do(req)
		if err == nil {
			return answer
		}
		// A reload replaces the admin server: the old one closes connections
		// that it has not begun to serve, and the kernel resets those that it
		// has not accepted, so nothing was done.
		if try == 5 || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			r.t.Fatal(err)
		}
	}
}

// forced adds force=true to what asks for confirmation if a key was used a
// moment ago, as keys in tests are.
func forced(method, path string) string {
	ends := method == http.MethodDelete || method == http.MethodPost && (strings.HasSuffix(path, "/suspend") || strings.HasSuffix(path, "/revoke") || strings.HasSuffix(path, "/rotate"))
	if !ends || !strings.HasPrefix(path, "/keys/") || method == http.MethodDelete && strings.HasSuffix(path, "/rotate") {
		return path
	}
	return path + "?force=true"
}

// Create creates a key and returns its id and token.
func (r *Rig) Create(spec string) (id, token string) {
	r.t.Helper()
	answer := r.Manage("POST", "/keys", spec)
	if answer.Status != http.StatusCreated {
		r.t.Fatalf("creating a key: status %d: %s", answer.Status, answer.Body)
	}
	tree := answer.JSON(r.t)
	return tree["key"].(map[string]any)["id"].(string), tree["token"].(string)
}

// Get requests a path of the site with header lines of the form "Name: value".
func (r *Rig) Get(path string, headers ...string) Answer { return r.Request("GET", path, headers...) }

// Request is Get for any method.
func (r *Rig) Request(method, path string, headers ...string) Answer {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://"+r.Site+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	return r.Do(req)
}

// client follows no redirects, so that tests see what the server answered.
var client = &http.Client{
	Timeout:       time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Do sends a request and reads the answer. As with Manage, one without a body
// is sent again if a reload had its connection closed.
func (r *Rig) Do(req *http.Request) Answer {
	r.t.Helper()
	for try := 0; ; try++ {
		answer, err := do(req)
		if err == nil {
			return answer
		}
		closed := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)
		if try == 5 || req.Body != nil || r.loads < 2 || !closed {
			r.t.Fatal(err)
		}
	}
}

func do(req *http.Request) (Answer, error) { return Read(client.Do(req)) }

// Read reads the answer to a request of a test's own client to its end.
func Read(resp *http.Response, err error) (Answer, error) {
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return Answer{resp.StatusCode, resp.Header, body}, err
}

// Raw sends bytes to the site on a connection of its own, as they are, and
// returns what comes back until the server closes, or a second passes without a
// byte behind a whole answer.
func (r *Rig) Raw(request string) string {
	r.t.Helper()
	for range 3 { // a reload may close a connection that it has not begun to serve
		if answer := r.raw(request); answer != "" {
			return answer
		}
	}
	return r.raw(request)
}

func (r *Rig) raw(request string) string {
	r.t.Helper()
	conn, err := net.DialTimeout("tcp", r.Site, 30*time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		r.t.Fatal(err)
	}
	var answer bytes.Buffer
	chunk := make([]byte, 4096)
	for deadline := time.Now().Add(10 * time.Second); ; {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		n, err := conn.Read(chunk)
		answer.Write(chunk[:n])
		slow := errors.Is(err, os.ErrDeadlineExceeded) && !isWhole(answer.Bytes()) && time.Now().Before(deadline)
		if err != nil && !slow {
			return answer.String()
		}
	}
}

// RawToEnd is Raw for an answer behind which the server has to close the
// connection. It returns false if it does not.
func (r *Rig) RawToEnd(request string) (answer string, closed bool) {
	r.t.Helper()
	conn, err := net.DialTimeout("tcp", r.Site, time.Minute)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		r.t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	text, err := io.ReadAll(conn)
	return string(text), !errors.Is(err, os.ErrDeadlineExceeded)
}

// isWhole reports whether bytes are an answer with all of its body.
func isWhole(answer []byte) bool {
	_, err := Read(http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil))
	return err == nil
}
