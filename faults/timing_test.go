//go:build linux

package faults

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// TestTiming compares how long refusals take: of credentials that share much with
// those of a live key, and of random ones. It tells what a caller could learn.
func TestTiming(t *testing.T) {
	const id = "R40"
	s := newServer(t)
	s.start()
	live := tokenOf(1)
	s.importTokens(1000)
	near := summed(live[:45] + string(base62[(slices.Index([]byte(base62), live[45])+1)%62]))
	signer := s.newSigning("signs")
	hawk := func(id string) string {
		key, err := hmacsig.SecretKey([]byte(randomText(48)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest("GET", "http://"+s.site+"/v1/contacts", nil)
		if err == nil {
			err = (&hmacsig.HawkSigner{ID: id, Key: key}).Sign(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		return r.Header.Get("Authorization")
	}
	random := func() string { return "Bearer " + tokenOf(1<<40+rand.IntN(1<<40)) }
	unknown := func() string { return hawk("key_" + string(shuffled(signer.id[4:]))) }
	for _, c := range []struct {
		what          string
		one, baseline func() string
	}{
		{"a token with the prefix of a live one", func() string { return "Bearer " + near }, random},
		{"a token whose SHA-256 begins like that of a live one", func() string { return "Bearer " + sameDigest(live) }, random},
		{"a Hawk request with the id of a live key", func() string { return hawk(signer.id) }, unknown},
	} {
		// What is sent is made beforehand, so that making it does not count.
		samples := amount(50, 20_000)
		one := c.one()
		conn, err := net.Dial("tcp", s.site)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		ask := func(credential string) time.Duration {
			t.Helper()
			request := fmt.Appendf(nil, "GET /v1/contacts HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n\r\n", s.site, credential)
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			began := time.Now()
			if _, err := conn.Write(request); err != nil {
				t.Fatal(err)
			}
			status, err := readAnswer(in)
			took := time.Since(began)
			if err != nil || status != http.StatusUnauthorized {
				t.Fatalf("%s: status %d, %v", c.what, status, err)
			}
			return took
		}
		var differences []float64 // µs
		for n := range samples {
			other := c.baseline()
			if c.what[2] == 'H' {
				one = c.one() // each request is signed anew
			}
			var times [2]time.Duration
			for turn := range 2 { // who is first changes
				which := (turn + n) % 2
				times[which] = ask([]string{other, one}[which])
			}
			differences = append(differences, float64(times[1]-times[0])/1e3)
		}
		conn.Close()
		slices.Sort(differences)
		half := 2.576 / 2 / math.Sqrt(float64(samples)) // the 99 % interval of the median, by ranks
		at := func(q float64) float64 { return differences[int(max(0, min(1, q))*float64(samples-1))] }
		low, high := at(0.5-half), at(0.5+half)
		note(t, id, c.what+": refused later than a random one by", "no more than 1 µs either way, at p < 0.01", low <= 1 && high >= -1,
			"%.2f µs (%.2f to %.2f), median of %d pairs", at(0.5), low, high, samples)
	}
}

// shuffled returns another text of the same characters.
func shuffled(text string) []byte {
	b := []byte(text)
	rand.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
	return b
}

// sameDigest returns a token of the right form whose SHA-256 has the first two
// bytes of a live one's.
func sameDigest(live string) string {
	want := sha256.Sum256([]byte(live))
	for i := 1 << 41; ; i++ {
		token := tokenOf(i)
		if got := sha256.Sum256([]byte(token)); got[0] == want[0] && got[1] == want[1] {
			return token
		}
	}
}
