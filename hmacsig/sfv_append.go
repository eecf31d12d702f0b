package hmacsig

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// appendMember writes what follows a member's key and "=": RFC 9651 sections
// 4.1.1.1 and 4.1.3. Whatever the sender's spacing was, there is one spelling.
func appendMember(b []byte, m *sfMember) []byte {
	if m.list {
		b = append(b, '(')
		for i := range m.items {
			if i > 0 {
				b = append(b, ' ')
			}
			b = appendParams(appendValue(b, m.items[i].value), m.items[i].params)
		}
		b = append(b, ')')
	} else {
		b = appendValue(b, m.value)
	}
	return appendParams(b, m.params)
}

// appendDictionary writes a whole Dictionary, RFC 9651 section 4.1.2.
func appendDictionary(b []byte, members []sfMember) []byte {
	for i := range members {
		if i > 0 {
			b = append(b, ", "...)
		}
		m := &members[i]
		b = append(b, m.key...)
		if !m.list && m.value.kind == sfBoolean && m.value.number == 1 {
			b = appendParams(b, m.params)
			continue
		}
		b = appendMember(append(b, '='), m)
	}
	return b
}

func appendParams(b []byte, params []sfParam) []byte {
	for i := range params {
		b = append(b, ';')
		b = append(b, params[i].key...)
		if v := params[i].value; v.kind != sfBoolean || v.number != 1 {
			b = appendValue(append(b, '='), v)
		}
	}
	return b
}

func appendValue(b []byte, v sfValue) []byte {
	switch v.kind {
	case sfInteger:
		return strconv.AppendInt(b, v.number, 10)
	case sfString:
		return appendString(b, v.text)
	case sfToken:
		return append(b, v.text...)
	case sfBytes:
		return appendBytes(b, v.text)
	default:
		return append(b, '?', byte('0'+v.number))
	}
}

// appendString writes a String. The text must have been read from one, or be
// known to hold only bytes that isPrintable.
func appendString(b []byte, text string) []byte {
	b = append(b, '"')
	if strings.ContainsAny(text, `"\`) {
		text = escape.Replace(text)
	}
	b = append(b, text...)
	return append(b, '"')
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func appendBytes(b []byte, raw string) []byte {
	b = append(b, ':')
	b = base64.StdEncoding.AppendEncode(b, []byte(raw))
	return append(b, ':')
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlpha(c byte) bool { return isLower(c) || 'A' <= c && c <= 'Z' }

func isKeyByte(c byte) bool {
	return isLower(c) || isDigit(c) || c == '_' || c == '-' || c == '.' || c == '*'
}

func isTokenByte(c byte) bool { return isMethodByte(c) || c == ':' || c == '/' }

// isMethodByte tells the bytes of methods and field names: tchar of RFC 9110
// section 5.6.2.
func isMethodByte(c byte) bool {
	return isAlpha(c) || isDigit(c) || c > 0x20 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isBase64Byte(c byte) bool {
	return isAlpha(c) || isDigit(c) || c == '+' || c == '/' || c == '='
}

// isPrintable tells the bytes that Strings, and values of the signature base,
// may hold: RFC 9651 section 3.3.3.
func isPrintable(c byte) bool { return 0x20 <= c && c <= 0x7E }

// all reports whether every byte of the text is in the class.
func all(text string, class func(byte) bool) bool {
	for i := range len(text) {
		if !class(text[i]) {
			return false
		}
	}
	return true
}
