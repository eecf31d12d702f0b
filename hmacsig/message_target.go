package hmacsig

import (
	"strings"
	"unicode/utf8"
)

// maxBase bounds what is read and written to make one signature base.
const maxBase = 64 << 10

// signed is a request taken apart into the values of its derived components.
type signed struct {
	r         *Request
	scheme    string
	authority string
	path      string
	query     string
	hasQuery  bool
	budget    int
}

// takeApart normalizes the parts of a request as RFC 9421 section 2.2 says, and
// refuses what has two readings: a target that is no path, that names another
// host or scheme than the request, or that has a fragment.
func takeApart(r *Request) (*signed, error) {
	s := &signed{r: r, budget: maxBase, scheme: strings.ToLower(r.Scheme)}
	if s.scheme != "http" && s.scheme != "https" {
		return nil, mismatch("the scheme is neither http nor https")
	}
	if r.Method == "" || !all(r.Method, isMethodByte) {
		return nil, mismatch("the method has bytes that no method may have")
	}
	var ok bool
	if s.authority, ok = normalAuthority(r.Authority, s.scheme); !ok {
		return nil, mismatch("the authority is no host with or without a port")
	}
	target := r.Target
	if err := s.spend(len(target)); err != nil {
		return nil, err
	}
	if !all(target, isTargetByte) {
		return nil, mismatch("the target has bytes that no target may have")
	}
	if scheme, rest, found := strings.Cut(target, "://"); found && !strings.HasPrefix(target, "/") {
		end := strings.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		authority, ok := normalAuthority(rest[:end], s.scheme)
		if !ok || authority != s.authority || !strings.EqualFold(scheme, s.scheme) {
			return nil, mismatch("the target is of another host or scheme")
		}
		if target = rest[end:]; !strings.HasPrefix(target, "/") {
			target = "/" + target
		}
	}
	if !strings.HasPrefix(target, "/") {
		return nil, mismatch("the target is no path")
	}
	s.path, s.query, s.hasQuery = strings.Cut(target, "?")
	return s, nil
}

// spend takes bytes off the budget, so that no request costs more than it.
func (s *signed) spend(n int) error {
	if s.budget -= n; s.budget < 0 {
		return mismatch("the signed components are too long")
	}
	return nil
}

func isTargetByte(c byte) bool { return isPrintable(c) && c != ' ' && c != '#' }

// normalAuthority returns the host in lower case, with the port unless it is
// the scheme's own: RFC 9421 section 2.2.3.
func normalAuthority(text, scheme string) (string, bool) {
	if len(text) > 255+len(":65535") {
		return "", false
	}
	host, port := text, ""
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		host, port = text[:i], text[i+1:]
		if port == "" || port[0] == '0' || len(port) > 5 || !all(port, isDigit) {
			return "", false
		}
	}
	inner, v6 := strings.CutPrefix(host, "[")
	if v6 {
		inner, v6 = strings.CutSuffix(inner, "]")
		if !v6 || !all(inner, isIPv6Byte) {
			return "", false
		}
	} else if !all(host, isHostByte) {
		return "", false
	}
	if inner == "" {
		return "", false
	}
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		text = host
	}
	return strings.ToLower(text), true
}

func isHostByte(c byte) bool {
	return isAlpha(c) || isDigit(c) || c == '-' || c == '.' || c == '_'
}

func isIPv6Byte(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' || c == ':' || c == '.'
}

// appendQueryParam writes the value of the one query parameter whose encoded
// name is this, RFC 9421 section 2.2.8. Where the section would replace bytes
// that are no UTF-8 by U+FFFD, and so give two queries one value, it fails.
func (s *signed) appendQueryParam(b []byte, name string) ([]byte, error) {
	if err := s.spend(len(s.query)); err != nil {
		return b, err
	}
	var scratch, encoded []byte
	found := false
	for part := range strings.SplitSeq(s.query, "&") {
		if part == "" {
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		scratch = appendFormDecoded(scratch[:0], key)
		if encoded = appendFormEncoded(encoded[:0], scratch); string(encoded) != name {
			continue
		}
		valid := utf8.Valid(scratch)
		scratch = appendFormDecoded(scratch[:0], value)
		if found || !valid || !utf8.Valid(scratch) {
			return b, mismatch("a signed query parameter stands twice or is no UTF-8")
		}
		found = true
		b = appendFormEncoded(b, scratch)
	}
	if !found {
		return b, mismatch("the request lacks a query parameter that is signed")
	}
	return b, nil
}

// appendFormDecoded decodes as the parser of application/x-www-form-urlencoded
// does: a "%" without two hexadecimal digits stands for itself.
func appendFormDecoded(b []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '+' {
			c = ' '
		} else if c == '%' && i+2 < len(text) {
			if high, low := unhex(text[i+1]), unhex(text[i+2]); high < 16 && low < 16 {
				c = high<<4 | low
				i += 2
			}
		}
		b = append(b, c)
	}
	return b
}

func unhex(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xFF
}

// appendFormEncoded encodes with the percent-encode set of
// application/x-www-form-urlencoded, and space as %20.
func appendFormEncoded(b, raw []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range raw {
		if isAlpha(c) || isDigit(c) || c == '*' || c == '-' || c == '.' || c == '_' {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}
