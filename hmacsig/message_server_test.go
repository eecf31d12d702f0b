package hmacsig

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// messageServer verifies as a server has to: nothing is read for a stranger, and
// what is refused says by its status why.
func messageServer(t *testing.T, k Key, secure bool) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := verifyReceived(r, k)
		switch {
		case err == nil:
		case errors.Is(err, ErrSyntax):
			w.WriteHeader(http.StatusBadRequest)
		case errors.Is(err, ErrCoverage):
			w.WriteHeader(http.StatusForbidden)
		case errors.Is(err, ErrStale):
			w.WriteHeader(http.StatusGone)
		case errors.Is(err, ErrDigest):
			w.WriteHeader(http.StatusConflict)
		case errors.Is(err, ErrSignature):
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	if s.EnableHTTP2 = secure; secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func verifyReceived(r *http.Request, k Key) error {
	claims, err := ParseMessage(r.Header)
	if err != nil {
		return err
	}
	claim, err := MessagePolicy{}.Choose(claims, func(id string) bool { return id == "client" })
	if err != nil {
		return err
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	proof, err := claim.Verify(k, serverRequest(r, scheme), MessagePolicy{})
	if err != nil {
		return err
	}
	if err := proof.Fresh(time.Now(), time.Minute, 5*time.Second); err != nil {
		return err
	}
	digest := proof.Body()
	if digest == nil {
		return nil
	}
	if _, err := io.Copy(digest, io.LimitReader(r.Body, 1<<20)); err != nil {
		return err
	}
	return digest.Verify()
}

// What net/http's client sends is what was signed, whatever the protocol.
func TestMessageGoClient(t *testing.T) {
	for _, secure := range []bool{false, true} {
		server := messageServer(t, secretKey(t, messageSecret), secure)
		signer := secretSigner(t, "client")
		signer.Policy.Components = []string{"@scheme", "@target-uri", "host", "x-extra"}
		for name, change := range map[string]func(*http.Request){
			"GET":         func(r *http.Request) { r.Method, r.Body, r.ContentLength = "", nil, 0 },
			"POST":        func(*http.Request) {},
			"POST stream": func(r *http.Request) { r.Body, r.GetBody, r.ContentLength = io.NopCloser(r.Body), nil, -1 },
			"POST empty": func(r *http.Request) {
				r.Body, r.GetBody, r.ContentLength = io.NopCloser(strings.NewReader("")), nil, 0
			},
			"another host":   func(r *http.Request) { r.Host = "API.example.com" },
			"no path":        func(r *http.Request) { r.URL.Path, r.URL.RawPath = "", "" },
			"an empty query": func(r *http.Request) { r.URL.RawQuery, r.URL.ForceQuery = "", true },
			"opaque":         func(r *http.Request) { r.URL.Opaque = "//" + r.URL.Host + "/a?b" },
		} {
			r, err := http.NewRequest("POST", server.URL+"/a%2Fb/%e2;x?q=1&q=%20+", strings.NewReader("text"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header["X-Extra"] = []string{" 1", "2 "}
			change(r)
			if err := signer.sign(r, time.Now()); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			answer, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK || (answer.ProtoMajor == 2) != secure {
				t.Errorf("%s, secure %v: %s by %s", name, secure, answer.Status, answer.Proto)
			}
		}
	}
}
