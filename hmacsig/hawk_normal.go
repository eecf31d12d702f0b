package hmacsig

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strings"
)

// hawkArtifacts are what a Hawk signature covers. No field holds a line break,
// or the lines of the normalized string could be read as other fields.
type hawkArtifacts struct {
	kind                         string // "header", "response" or "bewit"
	ts, nonce                    string
	method, resource, host, port string
	hash, ext, app, dlg          string
}

// append appends the normalized string, the text that is signed.
func (a *hawkArtifacts) append(b []byte) []byte {
	b = append(b, "hawk.1."...)
	for _, line := range [...]string{a.kind, a.ts, a.nonce, a.method, a.resource, a.host, a.port, a.hash, a.ext} {
		b = append(append(b, line...), '\n')
	}
	if a.app != "" {
		b = append(append(b, a.app...), '\n')
		b = append(append(b, a.dlg...), '\n')
	}
	return b
}

// mac returns the signature in the form in which it travels. It is compared in
// that form too, so that no second spelling of it fits.
func (a *hawkArtifacts) mac(key Key) string { return a.macBy(key.hawkHMAC()) }

func (a *hawkArtifacts) macBy(h hash.Hash) string {
	var room [512]byte
	h.Reset()
	h.Write(a.append(room[:0]))
	return base64.StdEncoding.EncodeToString(h.Sum(room[:0]))
}

// hawkHash returns the hash of the key's algorithm: SHA-256, or SHA-1 for
// those who have nothing better.
func (k Key) hawkHash() func() hash.Hash {
	if k.legacy {
		return sha1.New
	}
	return sha256.New
}

func (k Key) hawkHMAC() hash.Hash { return hmac.New(k.hawkHash(), k.secret) }

// tsm returns the server's signature of its own time.
func (k Key) tsm(ts string) string {
	h := k.hawkHMAC()
	h.Write([]byte("hawk.1.ts\n" + ts + "\n"))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// sameHawkMAC compares in constant time.
func sameHawkMAC(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// hawkArtifacts returns what a signature of r covers of it, all but the host.
func (r *Request) hawkArtifacts(kind string) (hawkArtifacts, error) {
	if r.Method == "" || !isToken(r.Method) {
		return hawkArtifacts{}, hawkSyntax("the method is not a token")
	}
	resource, err := r.hawkResource()
	if err != nil {
		return hawkArtifacts{}, err
	}
	return hawkArtifacts{kind: kind, method: strings.ToUpper(r.Method), resource: resource}, nil
}
