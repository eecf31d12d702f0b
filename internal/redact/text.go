package redact

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"go.uber.org/zap/buffer"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Lengths of what stands behind a token's prefix and underscore.
const (
	tokenTail = 49 // of a whole token
	cutTail   = 24 // from here on a cut or mistyped one is a secret, too; the ids of keys are shorter
)

// maxPrefix is the longest prefix of a token.
const maxPrefix = 16

var buffers = buffer.NewPool()

// span is a piece of text to be removed, and what may be shown of it.
type span struct {
	start, end int
	hint       string
}

// Text returns text without secrets. It is for text as it is, not for text
// inside of a format that escapes characters. Other than Line it knows headers
// that somebody put into a message, too.
func (r *Rules) Text(text string) string {
	if strings.IndexByte(text, '_') < 0 && strings.IndexByte(text, '=') < 0 &&
		strings.IndexByte(text, '%') < 0 && strings.IndexByte(text, ':') < 0 {
		return text
	}
	var room [8]span
	spans := r.find([]byte(text), false, room[:0])
	if len(spans) == 0 {
		return text
	}
	out := buffers.Get()
	defer out.Free()
	write(out, []byte(text), spans)
	return out.String()
}

// Line returns an encoded log line without secrets: line itself if there are
// none, otherwise another buffer in its place. JSON stays valid.
func (r *Rules) Line(line *buffer.Buffer) *buffer.Buffer {
	var room [8]span
	spans := r.find(line.Bytes(), true, room[:0])
	if len(spans) == 0 {
		return line
	}
	out := buffers.Get()
	write(out, line.Bytes(), spans)
	line.Free()
	return out
}

func write(out *buffer.Buffer, text []byte, spans []span) {
	at := 0
	for _, s := range spans {
		out.AppendBytes(text[at:s.start])
		out.AppendString(s.hint)
		out.AppendString(Mark)
		at = s.end
	}
	out.AppendBytes(text[at:])
}

// find appends the secrets in text to spans, in their order and without
// overlaps. In quoted text a backslash escapes and a quotation mark ends.
func (r *Rules) find(text []byte, quoted bool, spans []span) []span {
	if !quoted {
		spans = r.findHeaders(text, spans)
	}
	spans = r.findPairs(text, quoted, spans)
	spans = r.findTokens(text, spans)
	spans = r.findEscaped(text, quoted, spans)
	if len(spans) == 0 {
		return spans
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	merged := spans[:0]
	for _, s := range spans {
		if quoted {
			s.start = behindEscape(text, s.start)
		}
		if n := len(merged); n > 0 && s.start < merged[n-1].end {
			if last := &merged[n-1]; s.end != last.end || s.hint != last.hint {
				last.end, last.hint = max(last.end, s.end), ""
			}
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// findTokens finds everything that has the form of a token.
func (r *Rules) findTokens(text []byte, spans []span) []span {
	for at := bytes.IndexByte(text, '_'); at >= 0 && at+cutTail < len(text); {
		if isAlnum(text[at+cutTail]) && isAlnum(text[at+cutTail/2]) && isAlnum(text[at+cutTail/4]) { // most underscores are done with here
			end := at + 1
			for end < len(text) && isAlnum(text[end]) {
				end++
			}
			if s, ok := r.tokenAround(text, at, end); ok {
				spans = append(spans, s)
			}
		}
		next := bytes.IndexByte(text[at+1:], '_')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return spans
}

// tokenAround returns the token whose underscore stands at a place and whose
// letters and digits go on to end. With a prefix that is in use its checksum
// does not matter: a mistyped token is nearly one.
func (r *Rules) tokenAround(text []byte, underscore, end int) (span, bool) {
	if end-underscore-1 < cutTail {
		return span{}, false
	}
	if end-underscore-1 >= tokenTail {
		whole := string(text[max(0, underscore-maxPrefix) : underscore+1+tokenTail])
		for start := 0; start < len(whole)-tokenTail-1; start++ {
			if hint, ok := keyring.HintOf(whole[start:]); ok {
				return span{underscore + 1 + tokenTail - len(whole[start:]), end, hint}, true
			}
		}
	}
	for _, prefix := range r.prefixes {
		if start := underscore - len(prefix); start >= 0 && strings.EqualFold(prefix, string(text[start:underscore])) {
			return span{start, end, ""}, true
		}
	}
	return span{}, false
}

// findHeaders finds what stands behind the name of a header and a colon. That a
// header ends with its line is all that is known about its value.
func (r *Rules) findHeaders(text []byte, spans []span) []span {
	for at := 0; ; {
		next := bytes.IndexByte(text[at:], ':')
		if next < 0 {
			return spans
		}
		at += next + 1
		if !has(&r.headers, nameBefore(text, at-1, false)) {
			continue
		}
		end := bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			end = len(text) - at
		}
		if end > 0 {
			spans = append(spans, span{at, at + end, ""})
		}
		at += end
	}
}

// findPairs finds the values of the names that keys are read from.
func (r *Rules) findPairs(text []byte, quoted bool, spans []span) []span {
	for at := 0; ; {
		next := bytes.IndexByte(text[at:], '=')
		if next < 0 {
			return spans
		}
		at += next
		if r.mayEndName(text, at) {
			if s, ok := r.pairAt(text, at, at+1, quoted); ok {
				spans, at = append(spans, s), s.end
				continue
			}
		}
		at++
	}
}

// mayEndName reports whether it is worth a look if one of our names ends at a
// place: mostly it is not.
func (r *Rules) mayEndName(text []byte, at int) bool {
	if at < 2 {
		return at == 1
	}
	if r.pairs.mayEnd(text[at-2], text[at-1]) {
		return true
	}
	_, encoded := hexDigit(text[at-2]) // as it is if one of the two is percent-encoded
	return encoded && bytes.IndexByte(text[max(0, at-2-2*maxDepth):at], '%') >= 0
}

// pairAt returns the value that begins at a place, if a name of ours ends at
// another, with the equals sign in some form in between.
func (r *Rules) pairAt(text []byte, nameEnd, value int, quoted bool) (span, bool) {
	name := nameBefore(text, nameEnd, quoted)
	if !has(&r.pairs, name) {
		return span{}, false
	}
	end := valueEnd(text, value, quoted, has(&r.cookies, name))
	if end == value {
		return span{}, false
	}
	hint, _ := keyring.HintOf(string(text[value:end]))
	return span{value, end, hint}, true
}

// nameBefore returns the name that ends at a place, with its percent-encoding
// undone. A long name is cut, which makes it none of ours.
func nameBefore(text []byte, end int, quoted bool) []byte {
	start := end
	for start > 0 && end-start < 256 && inName[text[start-1]] {
		start--
	}
	if quoted {
		start = min(behindEscape(text, start), end)
	}
	name := text[start:end]
	for bytes.IndexByte(name, '%') >= 0 {
		decoded := unescape(name)
		if len(decoded) == len(name) {
			break
		}
		name = decoded
	}
	for i := len(name) - 1; i >= 0; i-- {
		if !inName[name[i]] || name[i] == '%' {
			return name[i+1:] // a pair within an encoded URL
		}
	}
	return name
}

// valueEnd returns where a value ends that begins at a place.
func valueEnd(text []byte, at int, quoted, ampersand bool) int {
	for at < len(text) {
		c := text[at]
		switch {
		case c <= ' ', c == '&' && !ampersand, c == '"' && quoted:
			return at
		case c == '\\' && quoted:
			width := escapeWidth(text, at)
			if width == 2 && strings.IndexByte("nrt", text[at+1]) >= 0 {
				return at // white space
			}
			at += width
		default:
			at++
		}
	}
	return len(text)
}

func isAlnum(c byte) bool {
	return c-'0' < 10 || c-'a' < 26 || c-'A' < 26
}

func isWord(c byte) bool { return isAlnum(c) || c == '_' }

// inName has the characters of names, and of their percent-encoding.
var inName = func() (in [256]bool) {
	for c := range in {
		in[c] = isWord(byte(c)) || strings.IndexByte("-.~%", byte(c)) >= 0
	}
	return in
}()
