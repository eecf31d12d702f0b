package adminapi

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// Bounds of what the trail keeps of a client, in bytes.
const (
	maxClaim = 200
	maxActor = 300
)

// origin is who sent the request, for the trail. It has a number, by which the
// answer, the log and the trail can be brought together.
func (c *call) origin() (audit.Origin, error) {
	o := audit.Origin{Actor: actorOf(c.r), RequestID: usage.NewRequestID(), Address: c.client(), Force: c.r.URL.Query().Get("force") == "true"}
	c.w.Header().Set("X-Request-Id", o.RequestID)
	claims := c.r.Header.Values("X-Actor")
	if len(claims) > 1 {
		return o, badActor()
	}
	if len(claims) == 1 {
		if o.ClaimedBy = claims[0]; len(o.ClaimedBy) > maxClaim || !utf8.ValidString(o.ClaimedBy) || strings.ContainsFunc(o.ClaimedBy, unprintable) || keyring.HoldsToken(o.ClaimedBy) {
			return o, badActor()
		}
	}
	return o, nil
}

func badActor() error {
	return refusal(invalidHeader, "X-Actor is one line of printable text of up to %d bytes, without an API key, which says who asks for the change. It is kept as what the client claims.", maxClaim)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// actorOf is what is proved of a client: the subject and the key of its
// certificate, or the way by which it reached an endpoint for this machine only.
// The guard has refused every other way.
func actorOf(r *http.Request) string {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	_, unix := local.(*net.UnixAddr)
	switch {
	case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		return subjectOf(r.TLS.VerifiedChains[0][0])
	case unix:
		return audit.Socket
	}
	return audit.Loopback
}

// subjectOf names a certificate. Whoever may issue certificates can write any
// subject, so that a part of the public key's digest stands behind it.
func subjectOf(cert *x509.Certificate) string {
	subject := strings.Map(func(r rune) rune {
		if unprintable(r) {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(cert.Subject.String(), "\uFFFD"))
	if len(subject) > maxActor {
		subject = strings.ToValidUTF8(subject[:maxActor], "") + "…"
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return strings.TrimLeft(subject+" sha256:"+hex.EncodeToString(sum[:8]), " ")
}
