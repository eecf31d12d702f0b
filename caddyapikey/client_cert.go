package caddyapikey

import (
	"net/http"
	"time"
)

// clientCert returns the certificate, in DER, that the client of the connection
// proved to have the private key of; nil for none.
//
// A TLS handshake proves that, whatever the server's client_auth mode: it is
// incomplete without the client's signature. Modes differ in whether somebody
// vouches for the certificate, which a key that names it does itself. Its time is
// checked here, since not every mode does, and connections outlive it: by the
// clock of the keys, which setting the wall clock back does not set back. A
// certificate that a proxy in front has seen is none of this connection, and no
// header can claim one.
func clientCert(r *http.Request, now time.Time) []byte {
	if r.TLS == nil || !r.TLS.HandshakeComplete || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	cert := r.TLS.PeerCertificates[0]
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil
	}
	return cert.Raw
}
