package main

import (
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
)

// answerText is what every server answers, with or without keys.
const answerText = `{"object":"list","data":[{"id":"contact_1","name":"Ada"}]}`

// serviceAddrs is where the services listen.
type serviceAddrs struct{ Upstream, Auth string }

// playServices runs an upstream, and an authorization service as people write
// one for forward_auth: it knows tokens by their SHA-256.
func playServices(p pipes) error {
	known := map[[sha256.Size]byte]string{sha256.Sum256([]byte(tokenOf(0))): "customer 0"}
	var addrs serviceAddrs
	var err error
	if addrs.Upstream, err = serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answerText)
	}); err != nil {
		return err
	}
	if addrs.Auth, err = serve(func(w http.ResponseWriter, r *http.Request) {
		token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		name, ok := known[sha256.Sum256([]byte(token))]
		if !bearer || !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Key-Id", name)
	}); err != nil {
		return err
	}
	if err := p.in.Encode(addrs); err != nil {
		return err
	}
	// Until the input ends.
	if err := p.out.Decode(new(struct{})); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// serve serves on a loopback port until the process ends.
func serve(handler http.HandlerFunc) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = http.Serve(ln, handler) }()
	return ln.Addr().String(), nil
}
