package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// MaxClientCerts bounds the client certificates of a key. Replacing one takes two
// for a while.
const MaxClientCerts = 16

// Fingerprint names a client certificate: the SHA-256 of its DER encoding.
type Fingerprint [sha256.Size]byte

// FingerprintOf returns the fingerprint of a certificate in DER.
func FingerprintOf(der []byte) Fingerprint { return sha256.Sum256(der) }

// String returns it as 64 small hex digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// ParseFingerprints reads fingerprints as programs print them: 64 hex digits, or
// 32 pairs with colons between them, in small or capital letters. The result is
// sorted, without duplicates.
func ParseFingerprints(field string, texts []string) ([]Fingerprint, error) {
	if len(texts) > MaxClientCerts {
		return nil, invalid(field, "%d entries, at most %d are possible", len(texts), MaxClientCerts)
	}
	var list []Fingerprint
	for i, text := range texts {
		f, ok := parseFingerprint(text)
		if !ok {
			return nil, invalid(fmt.Sprintf("%s[%d]", field, i), "not a SHA-256 fingerprint; write the 64 hex digits that `openssl x509 -in cert.pem -noout -fingerprint -sha256` prints, with or without colons")
		}
		list = append(list, f)
	}
	return canonicalFingerprints(list), nil
}

func parseFingerprint(text string) (f Fingerprint, ok bool) {
	if len(text) == 3*len(f)-1 {
		pairs := strings.Split(text, ":")
		if len(pairs) != len(f) || slices.ContainsFunc(pairs, func(pair string) bool { return len(pair) != 2 }) {
			return f, false
		}
		text = strings.Join(pairs, "")
	}
	if len(text) != hex.EncodedLen(len(f)) {
		return f, false
	}
	_, err := hex.Decode(f[:], []byte(text))
	return f, err == nil
}

func fingerprintTexts(list []Fingerprint) (texts []string) {
	for _, f := range list {
		texts = append(texts, f.String())
	}
	return texts
}

func canonicalFingerprints(list []Fingerprint) []Fingerprint {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Fingerprint) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(list)
}

func checkClientCerts(list []Fingerprint) error {
	if len(list) > MaxClientCerts {
		return invalid("client_certs", "%d entries, at most %d are possible", len(list), MaxClientCerts)
	}
	return nil
}

// IsBoundToCert reports whether the key is only accepted on connections with one
// of its client certificates.
func (p Proven) IsBoundToCert() bool { return len(p.e.profile().clientCerts) > 0 }

// AllowsCert reports whether the key may be used on a connection whose client
// proved to have the private key of a certificate, in DER; nil for none. A key
// without client certificates asks for none.
func (p Proven) AllowsCert(der []byte) bool {
	certs := p.e.profile().clientCerts
	return len(certs) == 0 || der != nil && slices.Contains(certs, FingerprintOf(der))
}
