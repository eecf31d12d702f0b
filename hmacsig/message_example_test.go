package hmacsig_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// A server that verifies, and a client that signs.
func Example_message() {
	secret := []byte("a secret of at least 16 bytes")
	key, err := hmacsig.SecretKey(secret)
	if err != nil {
		panic(err)
	}
	keys := map[string]hmacsig.Key{"crm": key}
	var policy hmacsig.MessagePolicy // the default covers all that matters

	verify := func(r *http.Request) error {
		claims, err := hmacsig.ParseMessage(r.Header)
		if err != nil {
			return err
		}
		claim, err := policy.Choose(claims, func(id string) bool { _, ok := keys[id]; return ok })
		if err != nil {
			return err
		}
		proof, err := claim.Verify(keys[claim.Params().KeyID], &hmacsig.Request{
			Method: r.Method, Scheme: "http", Authority: r.Host, Target: r.RequestURI,
			Header: r.Header, ContentLength: r.ContentLength,
		}, policy)
		if err != nil {
			return err
		}
		if err := proof.Fresh(time.Now(), time.Minute, 5*time.Second); err != nil {
			return err
		}
		if body := proof.Body(); body != nil {
			// A real server keeps what it reads, to use it once it is verified.
			if _, err := io.Copy(body, http.MaxBytesReader(nil, r.Body, 1<<20)); err != nil {
				return err
			}
			if err := body.Verify(); err != nil {
				return err
			}
		}
		// Here proof.Params().Nonce has to be spent, once until proof.Until(time.Minute).
		return nil
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := verify(r); err != nil {
			w.Header().Set("WWW-Authenticate", hmacsig.MessageChallenge)
			w.Header().Set("Accept-Signature", policy.AcceptSignature(r.ContentLength != 0))
			http.Error(w, err.Error(), http.StatusUnauthorized)
		}
	}))
	defer server.Close()

	signer, err := hmacsig.NewSecretSigner("crm", secret)
	if err != nil {
		panic(err)
	}
	for _, sign := range []func(*http.Request) error{signer.Sign, func(*http.Request) error { return nil }} {
		r, err := http.NewRequest("POST", server.URL+"/v1/contacts", strings.NewReader(`{"name":"Ada"}`))
		if err == nil {
			err = sign(r)
		}
		if err != nil {
			panic(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			panic(err)
		}
		answer.Body.Close()
		fmt.Println(answer.Status)
		if accept := answer.Header.Get("Accept-Signature"); accept != "" {
			fmt.Println(accept)
		}
	}
	// Output:
	// 200 OK
	// 401 Unauthorized
	// sig1=("@method" "@authority" "@path" "@query" "content-digest");created
}
