package hmacsig

import (
	"encoding/base64"
	"hash"
	"strings"
)

// HawkHash takes a body and gives its payload hash, over the media type and the
// content. The content is hashed as it is before a content coding is applied; a
// server that sees a coded body hashes what the client did not.
type HawkHash struct {
	hash hash.Hash
	size int64
	sum  string
}

// NewHawkHash returns the payload hash of a body with the given Content-Type, of
// which only the media type counts: what stands before the first semicolon, in
// lower case.
func NewHawkHash(key Key, contentType string) *HawkHash {
	h := &HawkHash{hash: key.hawkHash()()}
	h.hash.Write([]byte("hawk.1.payload\n" + hawkMediaType(contentType) + "\n"))
	return h
}

// Write takes the next part of the body. It never fails.
func (h *HawkHash) Write(part []byte) (int, error) {
	h.size += int64(len(part))
	return h.hash.Write(part)
}

// Sum returns the hash of the whole body. Nothing may be written after it.
func (h *HawkHash) Sum() string {
	if h.sum == "" {
		h.hash.Write([]byte("\n"))
		h.sum = base64.StdEncoding.EncodeToString(h.hash.Sum(nil))
	}
	return h.sum
}

// hawkMediaType lower-cases ASCII alone: a media type has no other letters, and
// what lower case means beyond them depends on the language and its version.
func hawkMediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	lower := []byte(strings.Trim(media, " \t"))
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}

// HawkPayload compares a body with the hash that was signed for it. A server that
// takes the signed hash for granted lets anybody change the body, which makes no
// difference to the rest of the signature.
type HawkPayload struct {
	HawkHash
	signed string
}

// HasHash reports whether the client has signed a hash of the body. A body
// without one is anybody's.
func (p *HawkProof) HasHash() bool { return p.signed.hash != "" }

// Payload returns the check of the request's body, to which the caller writes
// it. How much of a body to hold back until it is checked is the caller's choice.
func (p *HawkProof) Payload() *HawkPayload {
	contentType := ""
	if len(p.contentType) > 0 {
		contentType = p.contentType[0]
	}
	return &HawkPayload{HawkHash: *NewHawkHash(p.key, contentType), signed: p.signed.hash}
}

// Verify, after the whole body was written, returns ErrDigest if it is not the
// body that was signed, and ErrCoverage if no body was signed and there is one.
func (p *HawkPayload) Verify() error {
	switch {
	case p.signed == "" && p.size == 0:
		return nil
	case p.signed == "":
		return ErrCoverage
	case !sameHawkMAC(p.Sum(), p.signed):
		return ErrDigest
	}
	return nil
}
