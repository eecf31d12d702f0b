package rig

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Secrets searches output, such as logs, answers and files, for secrets that
// must not be in it. What it reports names a secret but never shows it, so that
// it can stand in a test's output.
//
// A secret is found as it is, JSON-escaped, percent-encoded (whole or in part,
// once or twice), in hexadecimal, and in base64 of either alphabet at any place
// of a longer text. Of a secret of 24 bytes and more, any 15 bytes in a row are
// found too, so that a truncated one does not go unseen; but for its beginning
// up to 4 characters behind the last underscore, which lists of keys show.
type Secrets struct {
	known []secret
}

type secret struct {
	name   string
	whole  []byte
	digest []byte
	blocks []block // one is whole in any 15 bytes in a row
}

// block is 8 bytes of a secret.
type block struct {
	from int
	text []byte
}

// shortestPart is the length from which a part of a secret is looked for.
const shortestPart = 24

// Add makes a secret known under a name that may be shown.
func (s *Secrets) Add(name, value string) {
	if len(value) < 8 {
		panic("rig: the secret " + strconv.Quote(name) + " is too short to be told from other text")
	}
	sum := sha256.Sum256([]byte(value))
	added := secret{name: name, whole: []byte(value), digest: sum[:]}
	if len(value) >= shortestPart {
		shown := strings.LastIndexByte(value, '_') + 1 + 4
		for i := min(shown, len(value)-16); i+8 <= len(value); i += 8 {
			added.blocks = append(added.blocks, block{i, []byte(value[i : i+8])})
		}
	}
	s.known = append(s.known, added)
}

// Find describes every known secret in text and in which form it stands there.
func (s *Secrets) Find(text []byte) []string {
	views := plainViews(text)
	lower := bytes.ToLower(text)
	var found []string
	for _, k := range s.known {
		if form := k.plainForm(views); form != "" {
			found = append(found, fmt.Sprintf("%s: %s", k.name, form))
		}
		found = append(found, encodedForms(k.name, k.whole, text, lower)...)
	}
	return found
}

// FindDigests describes every SHA-256 of a known secret in text: the bytes
// themselves, in hexadecimal or in base64. The store's file holds them, nothing
// else should.
func (s *Secrets) FindDigests(text []byte) []string {
	lower := bytes.ToLower(text)
	var found []string
	for _, k := range s.known {
		if bytes.Contains(text, k.digest) {
			found = append(found, "digest of "+k.name+": as it is")
		}
		found = append(found, encodedForms("digest of "+k.name, k.digest, text, lower)...)
	}
	return found
}

func (k secret) plainForm(views [][]byte) string {
	for i, view := range views {
		if bytes.Contains(view, k.whole) {
			if i == 0 {
				return "as it is"
			}
			return "escaped"
		}
	}
	for _, view := range views {
		for _, b := range k.blocks {
			if bytes.Contains(view, b.text) {
				return fmt.Sprintf("in part, from byte %d", b.from)
			}
		}
	}
	return ""
}

func encodedForms(name string, value, text, lower []byte) []string {
	var found []string
	if bytes.Contains(lower, []byte(hex.EncodeToString(value))) {
		found = append(found, name+": in hexadecimal")
	}
	for _, form := range base64Forms(value) {
		if bytes.Contains(text, form) {
			return append(found, name+": in base64")
		}
	}
	return found
}

// base64Forms returns what of value's encoding is the same whatever stands
// around it, for each of the three offsets that it can have.
func base64Forms(value []byte) [][]byte {
	var forms [][]byte
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for offset, shared := range []int{0, 2, 3} { // characters that hold bits of what stands before
			padded := append(make([]byte, offset), value...)
			encoded := encoding.EncodeToString(padded)
			if len(padded)%3 != 0 {
				encoded = encoded[:len(encoded)-1] // holds bits of what comes after
			}
			forms = append(forms, []byte(encoded[shared:]))
		}
	}
	return forms
}

// plainViews returns text as it is and as readers of JSON and of URLs see it.
func plainViews(text []byte) [][]byte {
	unescaped := jsonUnescape(text)
	views := [][]byte{text, unescaped}
	for _, view := range views[:2] {
		once := percentDecode(view)
		views = append(views, once, percentDecode(once))
	}
	return append(views, jsonUnescape(unescaped)) // JSON in a string of JSON
}

// jsonUnescape undoes the escapes of JSON strings anywhere in text.
func jsonUnescape(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			out = append(out, text[i])
			continue
		}
		i++
		switch at := strings.IndexByte("bfnrt", text[i]); {
		case at >= 0:
			out = append(out, "\b\f\n\r\t"[at])
		case text[i] == 'u' && i+4 < len(text):
			r, err := strconv.ParseUint(string(text[i+1:i+5]), 16, 16)
			if err != nil {
				out = append(out, 'u')
				continue
			}
			out = append(out, string(rune(r))...)
			i += 4
		default:
			out = append(out, text[i])
		}
	}
	return out
}

// percentDecode undoes percent-encoding anywhere in text.
func percentDecode(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if b, err := strconv.ParseUint(string(text[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(b))
				i += 2
				continue
			}
		}
		out = append(out, text[i])
	}
	return out
}
