package keyring

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"regexp"
	"strings"
	"unsafe"
)

// A token is <prefix>_<body><checksum>: the body is 256 random bits as 43
// base62 characters, the checksum is CRC-32 (IEEE) of all before it as 6 base62
// characters. The form is made for secret scanners: a fixed prefix, one word to
// a double click, and a checksum that tells a token from noise without asking
// anybody.
const (
	tokenBodyLen     = 43
	tokenChecksumLen = 6
	tokenTailLen     = tokenBodyLen + tokenChecksumLen
	tokenRandomBytes = 32
	tokenHintLen     = 4  // characters of the body that lists show
	maxTokenPrefix   = 16 // as tokenPrefixPattern says

	// DefaultTokenPrefix is what tokens begin with unless configured.
	DefaultTokenPrefix = "ck"

	// MaxTokenLen bounds a token of any form, in bytes.
	MaxTokenLen = 512
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var tokenPrefixPattern = regexp.MustCompile(`^[A-Za-z](?:[A-Za-z0-9_]{0,14}[A-Za-z0-9])?$`)

// ValidateTokenPrefix checks an operator's token prefix.
func ValidateTokenPrefix(prefix string) error {
	if !tokenPrefixPattern.MatchString(prefix) {
		return invalid("token_prefix", "%q is not a prefix: write 1 to 16 letters, digits or inner underscores, beginning with a letter, such as ck or acme_live", prefix)
	}
	return nil
}

// TokenPattern returns the regular expression that finds tokens with this
// prefix in any text, for secret scanners.
func TokenPattern(prefix string) string {
	return `\b` + regexp.QuoteMeta(prefix) + `_[0-9A-Za-z]{49}\b`
}

// newToken makes a token from 32 bytes of random.
func newToken(prefix string, random io.Reader) (Secret, error) {
	var seed [tokenRandomBytes]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return Secret{}, fmt.Errorf("reading randomness for a token: %w", err)
	}
	text := make([]byte, 0, len(prefix)+1+tokenTailLen)
	text = append(text, prefix...)
	text = append(text, '_')
	text = appendBase62(text, new(big.Int).SetBytes(seed[:]), tokenBodyLen)
	text = appendBase62(text, big.NewInt(int64(crc32.ChecksumIEEE(text))), tokenChecksumLen)
	return Secret{string(text)}, nil
}

// appendBase62 appends n as exactly width base62 digits, most significant first.
func appendBase62(dst []byte, n *big.Int, width int) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, width)...)
	base, digit := big.NewInt(int64(len(base62))), new(big.Int)
	for i := len(dst) - 1; i >= start; i-- {
		n.DivMod(n, base, digit)
		dst[i] = base62[digit.Int64()]
	}
	return dst
}

// hint returns what lists show of a made token: its prefix and four characters.
func hint(prefix string, token Secret) string {
	return token.text[:len(prefix)+1+tokenHintLen]
}

// tokenForm says what a token looks like.
type tokenForm uint8

const (
	foreignForm tokenForm = iota // any other string: an imported token, or noise
	brokenForm                   // our form with a wrong checksum: never a token
	ownForm                      // our form with the right checksum
)

// formOf classifies a token without looking it up.
func formOf(token, prefix string) tokenForm {
	switch {
	case !hasOwnShape(token, prefix) || !onlyAlnum(token[len(prefix)+1:]):
		return foreignForm
	case !checksumHolds(token):
		return brokenForm
	}
	return ownForm
}

// isBroken reports whether formOf says brokenForm, so that a mistyped token
// costs no look-up. It is quick about a right one, and does not allocate.
func isBroken(token, prefix string) bool {
	return hasOwnShape(token, prefix) && !checksumHolds(token) && onlyAlnum(token[len(prefix)+1:])
}

func hasOwnShape(token, prefix string) bool {
	return len(token) == len(prefix)+1+tokenTailLen && token[:len(prefix)] == prefix && token[len(prefix)] == '_'
}

func onlyAlnum(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) {
			return false
		}
	}
	return true
}

// checksumHolds reports whether the last characters are the checksum of all
// before them.
func checksumHolds(token string) bool {
	body, sum := token[:len(token)-tokenChecksumLen], token[len(token)-tokenChecksumLen:]
	want := crc32.ChecksumIEEE(bytesOf(body))
	for i := tokenChecksumLen - 1; i >= 0; i-- {
		if sum[i] != base62[want%62] {
			return false
		}
		want /= 62
	}
	return true
}

func isAlnum(c byte) bool {
	return c-'0' < 10 || c-'a' < 26 || c-'A' < 26
}

// HasForm reports whether text has the length and characters of a token with
// this prefix. Its checksum does not matter, and so nothing of the token is told.
func HasForm(text, prefix string) bool { return formOf(text, prefix) != foreignForm }

// IsToken reports whether text is a well-formed token with this prefix and a
// right checksum.
func IsToken(text, prefix string) bool { return formOf(text, prefix) == ownForm }

// HintOf returns what lists show of a token, and whether text is one: of any
// prefix, with a right checksum.
func HintOf(text string) (shown string, ok bool) {
	end := len(text) - tokenTailLen - 1 // of the prefix
	if end < 1 || ValidateTokenPrefix(text[:end]) != nil || !IsToken(text, text[:end]) {
		return "", false
	}
	return hint(text[:end], Secret{text}), true
}

// HoldsToken reports whether a token of any prefix, with a right checksum, stands
// anywhere in text.
func HoldsToken(text string) bool {
	for at := 0; ; at++ {
		next := strings.IndexByte(text[at:], '_')
		if next < 0 {
			return false
		}
		at += next
		end := at + 1 + tokenTailLen
		if end > len(text) {
			return false
		}
		if !onlyAlnum(text[at+1 : end]) {
			continue
		}
		for start := max(0, at-maxTokenPrefix); start < at; start++ {
			if _, ok := HintOf(text[start:end]); ok {
				return true
			}
		}
	}
}

// DigestOf returns the digest under which a token is stored and looked up.
// It does not allocate.
func DigestOf(token string) [sha256.Size]byte { return sha256.Sum256(bytesOf(token)) }

// bytesOf returns the bytes of s without copying them, for functions that only
// read: every request would otherwise pay for two copies of its token.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// validateImported checks the plaintext of a token made elsewhere: it must be
// one that a header can carry, and strong enough unless weak is allowed.
func validateImported(field, token, prefix string, weak bool) error {
	if token == "" || len(token) > MaxTokenLen {
		return invalid(field, "a token has 1 to %d characters, this one has %d", MaxTokenLen, len(token))
	}
	if i := strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }); i >= 0 {
		return invalid(field, "character %d is not a printable ASCII character without space; no header can carry such a token", i+1)
	}
	if formOf(token, prefix) == brokenForm {
		return invalid(field, "it has the form of a %s_ token but its checksum is wrong; it was probably cut or mistyped", prefix)
	}
	if bits := strength(token); bits < MinTokenBits && !weak {
		return invalid(field, "about %d bits by length and alphabet, at least %d are asked; give the key a new token, or set \"allow_weak\": true to take this one as it is", bits, MinTokenBits)
	}
	return nil
}

// MinTokenBits is the least strength of an imported token: at 112 bits a plain
// approved hash is enough to store it (NIST SP 800-63B, look-up secrets).
const MinTokenBits = 112

// strength bounds the bits of a token from above by its length and the
// smallest usual alphabet that holds it. A token of few different characters
// counts only those: nobody draws "aaaa…" at random.
func strength(token string) int {
	var digit, lowerHex, upperHex, lower, upper, other bool
	var seen [128]bool
	length, distinct := 0, 0
	for _, c := range []byte(token) {
		if c == '-' && isUUIDForm(token) {
			continue // its place is fixed
		}
		length++
		if !seen[c&0x7f] {
			seen[c&0x7f] = true
			distinct++
		}
		switch {
		case c-'0' < 10:
			digit = true
		case c-'a' < 6:
			lowerHex = true
		case c-'A' < 6:
			upperHex = true
		case c-'a' < 26:
			lower = true
		case c-'A' < 26:
			upper = true
		default:
			other = true
		}
	}
	alphabet := 0
	switch {
	case other:
		alphabet = 64
	case lower || upper:
		if digit {
			alphabet += 10
		}
		if lower || lowerHex {
			alphabet += 26
		}
		if upper || upperHex {
			alphabet += 26
		}
	case lowerHex || upperHex:
		alphabet = 16
	default:
		alphabet = 10
	}
	if distinct < 8 && distinct < alphabet {
		alphabet = distinct
	}
	return int(float64(length) * log2(alphabet))
}

// isUUIDForm reports whether hyphens stand where a UUID has them.
func isUUIDForm(token string) bool {
	return len(token) == 36 && token[8] == '-' && token[13] == '-' && token[18] == '-' && token[23] == '-'
}
