package caddyapikey

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"
)

// A certificate counts from its first to its last instant, by the time that the
// keys go by.
func TestClientCertTime(t *testing.T) {
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	until := from.Add(time.Hour)
	r := &http.Request{TLS: &tls.ConnectionState{
		HandshakeComplete: true,
		PeerCertificates:  []*x509.Certificate{{Raw: []byte("DER"), NotBefore: from, NotAfter: until}},
	}}
	for _, c := range []struct {
		now  time.Time
		good bool
	}{
		{from.Add(-time.Millisecond), false}, {from, true}, {until, true}, {until.Add(time.Millisecond), false}, {time.Now(), false},
	} {
		if got := clientCert(r, c.now) != nil; got != c.good {
			t.Errorf("at %v: %v", c.now, got)
		}
	}
}
