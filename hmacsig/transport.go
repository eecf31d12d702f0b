package hmacsig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Signer signs requests by one scheme.
type Signer interface {
	// SignAt sets the fields that make up the signature of req, with now as its
	// time. It sees the body only through req.GetBody, and fails if there is a
	// body without that. The Exchange waits for the answer; it is nil if the
	// scheme's answers say nothing about themselves.
	SignAt(req *http.Request, now time.Time) (Exchange, error)
}

// Exchange is a signed request whose answer is to come.
type Exchange interface {
	// Clock returns the server's time, if the answer refuses the request as
	// untimely and proves that it knows the key.
	Clock(answer *http.Response) (time.Time, bool)

	// Check returns an error if the answer's own signature does not fit, or if
	// there should be one. It may replace answer.Body by one whose end comes
	// with an error if it is not the body that was signed.
	Check(answer *http.Response) error
}

// maxKeptBody bounds a body that Transport has to keep in memory.
const maxKeptBody = 32 << 20

// Transport is an http.RoundTripper that signs requests. It must not be copied.
//
// A request whose body cannot be read twice, because it has no GetBody, is kept
// in memory, up to 32 MiB; a longer one fails. When the server answers that the
// time of the request was off, and proves that it is the server, Transport sets
// its clock by the server's and sends the request once more.
//
// A redirect arrives here as another request and is signed anew. A request to an
// origin that is not listed fails, because it would tell the origin which key
// this is and what is called with it.
type Transport struct {
	Signer  Signer
	Origins []string          // such as "https://api.example.com", those that are signed for; there is no default
	Base    http.RoundTripper // sends what is signed; default: http.DefaultTransport

	offset atomic.Int64 // of the server's clock from ours, in nanoseconds
}

// RoundTrip signs a copy of req and sends it.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	unsigned, err := t.prepare(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	answer, exchange, err := t.send(unsigned.Clone(req.Context()))
	if err != nil || exchange == nil {
		return answer, err
	}
	if server, ok := exchange.Clock(answer); ok {
		discard(answer)
		t.offset.Store(int64(time.Until(server)))
		if unsigned.GetBody != nil {
			if unsigned.Body, err = unsigned.GetBody(); err != nil {
				return nil, err
			}
		}
		if answer, exchange, err = t.send(unsigned); err != nil || exchange == nil {
			return answer, err
		}
	}
	if err := exchange.Check(answer); err != nil {
		answer.Body.Close()
		return nil, err
	}
	return answer, nil
}

// prepare returns a copy of req that may be signed, and whose body can be read
// twice.
func (t *Transport) prepare(req *http.Request) (*http.Request, error) {
	if !t.signsFor(req.URL) {
		return nil, errors.New("hmacsig: the request goes to an origin that is not among those that are signed for")
	}
	c := req.Clone(req.Context())
	if req.Body == nil || req.Body == http.NoBody || req.GetBody != nil {
		return c, nil
	}
	kept, err := io.ReadAll(io.LimitReader(req.Body, maxKeptBody+1))
	if err != nil {
		return nil, err
	}
	if len(kept) > maxKeptBody {
		return nil, fmt.Errorf("hmacsig: a body without GetBody has more than %d bytes", maxKeptBody)
	}
	req.Body.Close()
	if c.ContentLength <= 0 {
		c.ContentLength = int64(len(kept))
	}
	c.GetBody = func() (io.ReadCloser, error) {
		if len(kept) == 0 {
			return http.NoBody, nil
		}
		return io.NopCloser(bytes.NewReader(kept)), nil
	}
	c.Body, err = c.GetBody()
	return c, err
}

func (t *Transport) send(req *http.Request) (*http.Response, Exchange, error) {
	exchange, err := t.Signer.SignAt(req, time.Now().Add(time.Duration(t.offset.Load())))
	if err != nil {
		closeBody(req)
		return nil, nil, err
	}
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	answer, err := base.RoundTrip(req)
	return answer, exchange, err
}

func (t *Transport) signsFor(u *url.URL) bool {
	for _, listed := range t.Origins {
		if o, err := url.Parse(listed); err == nil && o.Host != "" && origin(o) == origin(u) {
			return true
		}
	}
	return false
}

// origin returns scheme, host and port in one spelling.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// discard ends an answer that nobody will read, in a way that lets its connection
// be used again if little is left of it.
func discard(answer *http.Response) {
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10)
	answer.Body.Close()
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

var _ http.RoundTripper = (*Transport)(nil)
