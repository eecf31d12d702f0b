package hmacsig_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// gate answers requests that one key has signed by Hawk.
type gate struct {
	id   string
	key  hmacsig.Key
	ring *hmacsig.NonceRing
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "the body is too long", http.StatusRequestEntityTooLarge)
		return
	}
	challenge, err := g.authenticate(r, body, time.Now())
	switch {
	case err == nil:
		fmt.Fprintf(w, "accepted %s %s", r.Method, body)
	case errors.Is(err, hmacsig.ErrSyntax):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, hmacsig.ErrNonceQuota):
		http.Error(w, err.Error(), http.StatusTooManyRequests)
	case errors.Is(err, hmacsig.ErrNoncesFull), errors.Is(err, hmacsig.ErrNonceUnknown):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		w.Header().Set("WWW-Authenticate", challenge)
		http.Error(w, err.Error(), http.StatusUnauthorized)
	}
}

// authenticate goes the way of every verification: parse, key, signature, time,
// body, and the nonce last.
func (g *gate) authenticate(r *http.Request, body []byte, now time.Time) (challenge string, err error) {
	asSigned := &hmacsig.Request{
		Method: r.Method, Scheme: "http", Authority: r.Host, Target: r.RequestURI,
		Header: r.Header, ContentLength: r.ContentLength,
	}
	claim, err := hmacsig.ParseHawk(r.Header.Get("Authorization"))
	if err != nil {
		return hmacsig.HawkChallenge(err), err
	}
	if claim.ID() != g.id {
		err := claim.VerifyUnknown(asSigned)
		return hmacsig.HawkChallenge(err), err
	}
	proof, err := claim.Verify(g.key, asSigned)
	if err != nil {
		return hmacsig.HawkChallenge(err), err
	}
	if err := proof.Fresh(now, hmacsig.HawkSkew); err != nil {
		return proof.StaleChallenge(now), err
	}
	payload := proof.Payload()
	_, _ = payload.Write(body)
	if err := payload.Verify(); err != nil {
		return hmacsig.HawkChallenge(err), err
	}
	err = g.ring.Use(proof.ID(), proof.Second(), proof.Nonce(), now)
	return hmacsig.HawkChallenge(err), err
}

// A server that asks for Hawk, and a client that signs with it.
func ExampleTransport() {
	key, err := hmacsig.SecretKey([]byte("werxhqb98rpaxn39848xrunpaw3489ruxnpa98w4rxn"))
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(&gate{
		id: "dh37fgj492je", key: key, ring: hmacsig.NewNonceRing(hmacsig.NonceLimits{}, time.Time{}),
	})
	defer server.Close()

	client := &http.Client{Transport: &hmacsig.Transport{
		Signer:  &hmacsig.HawkSigner{ID: "dh37fgj492je", Key: key},
		Origins: []string{server.URL},
	}}
	for _, c := range []*http.Client{client, http.DefaultClient} {
		answer, err := c.Post(server.URL+"/notes", "text/plain", strings.NewReader("hello"))
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			panic(err)
		}
		fmt.Println(answer.StatusCode, answer.Header.Get("WWW-Authenticate"), strings.TrimSpace(string(body)))
	}
	// Output:
	// 200  accepted POST hello
	// 401 Hawk no Hawk credentials
}
