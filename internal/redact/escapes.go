package redact

import "bytes"

// maxDepth is how often text is decoded: a URL within a URL within a URL.
const maxDepth = 3

// findEscaped finds tokens and pairs that are spelled with percent-encoding of
// characters that need none. Nobody does so by chance, and few lines have them,
// so what it costs does not matter.
func (r *Rules) findEscaped(text []byte, quoted bool, spans []span) []span {
	for at := 0; ; {
		next := bytes.IndexByte(text[at:], '%')
		if next < 0 {
			return spans
		}
		at += next
		c, width := escapedAt(text, at)
		switch {
		case width == 0:
			at++
		case c == '=':
			end := at + width
			if s, ok := r.pairAt(text, at, end, quoted); ok {
				spans, end = append(spans, s), s.end // or as many pairs as there are would each be read to the end
			}
			at = end
		case isWord(c):
			start, end := wordAround(text, at)
			if r.holdsToken(text[start:end]) {
				spans = append(spans, span{start, end, ""})
			}
			at = end
		default:
			at += width
		}
	}
}

// holdsToken reports whether a token shows when the escapes in text are undone.
func (r *Rules) holdsToken(text []byte) bool {
	for range maxDepth {
		decoded := unescape(text)
		if len(r.findTokens(decoded, nil)) > 0 {
			return true
		}
		if len(decoded) == len(text) {
			return false
		}
		text = decoded
	}
	return false
}

// wordAround returns the bounds of the letters, digits, underscores and escapes
// around a place.
func wordAround(text []byte, at int) (start, end int) {
	for start = at; start > 0 && (isWord(text[start-1]) || text[start-1] == '%'); {
		start--
	}
	for end = at; end < len(text) && (isWord(text[end]) || text[end] == '%'); {
		end++
	}
	return start, end
}

// unescape undoes percent-encoding once, in new memory.
func unescape(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		if c, width := escapedOnceAt(text, i); width > 0 {
			out = append(out, c)
			i += width
			continue
		}
		out = append(out, text[i])
		i++
	}
	return out
}

// escapedAt returns the byte that an escape at a place stands for in the end,
// also if its percent sign is encoded itself, and the length of the escape, or
// 0 if there is none.
func escapedAt(text []byte, at int) (c byte, width int) {
	c, width = escapedOnceAt(text, at)
	for range maxDepth - 1 {
		if c != '%' || width == 0 {
			break
		}
		inner, ok := hexByte(text, at+width)
		if !ok {
			break
		}
		c, width = inner, width+2
	}
	return c, width
}

func escapedOnceAt(text []byte, at int) (c byte, width int) {
	if text[at] == '%' {
		if c, ok := hexByte(text, at+1); ok {
			return c, 3
		}
	}
	return 0, 0
}

func hexByte(text []byte, at int) (byte, bool) {
	if at+1 >= len(text) {
		return 0, false
	}
	high, ok1 := hexDigit(text[at])
	low, ok2 := hexDigit(text[at+1])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// escapeWidth returns the length of the escape in JSON that begins with the
// backslash at a place, within what there is of text.
func escapeWidth(text []byte, at int) int {
	width := 2
	if at+1 < len(text) && text[at+1] == 'u' {
		width = 6
	}
	return min(width, len(text)-at)
}

// behindEscape returns at, or the end of the escape that at is inside of: half
// an escape would break the JSON around it.
func behindEscape(text []byte, at int) int {
	for backslash := at - 1; backslash >= 0 && backslash >= at-5; backslash-- {
		if text[backslash] != '\\' {
			continue
		}
		first := backslash
		for first > 0 && text[first-1] == '\\' {
			first--
		}
		if (backslash-first)%2 == 1 {
			return at // the second of two: not the beginning of an escape
		}
		return max(at, backslash+escapeWidth(text, backslash))
	}
	return at
}
