//go:build linux

package faults

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
	"strings"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// tokenOf returns a token of the form that the server makes itself, the same
// one for the same number.
func tokenOf(i int) string {
	token := []byte("ck_")
	random := rand.New(rand.NewPCG(uint64(i), 7))
	for range 43 {
		token = append(token, base62[random.IntN(62)])
	}
	return summed(string(token))
}

// summed gives the body of a token its checksum.
func summed(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	var tail [6]byte
	for n := len(tail) - 1; n >= 0; n-- {
		tail[n] = base62[sum%62]
		sum /= 62
	}
	return body + string(tail[:])
}

// importTokens gives the server the keys of tokenOf(0) … tokenOf(n-1).
func (s *server) importTokens(n int) {
	s.t.Helper()
	const most = 50_000
	for first := 0; first < n; first += most {
		var body strings.Builder
		body.WriteString(`{"keys":[`)
		for i := first; i < min(n, first+most); i++ {
			if i > first {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, `{"name":"customer %d","scopes":["contacts:read"],"allow":["127.0.0.0/8"],"token":%q}`, i, tokenOf(i))
		}
		body.WriteString("]}")
		if r := s.mustManage("POST", "/import", body.String()); r.status != http.StatusOK {
			s.t.Fatalf("importing: %d %s", r.status, r.body)
		}
	}
}
