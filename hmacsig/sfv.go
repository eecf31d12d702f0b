package hmacsig

import (
	"encoding/base64"
	"strings"
)

// What one structured field may hold. Every loop below ends because of these.
const (
	sfMaxBytes   = 8 << 10
	sfMaxMembers = 64
	sfMaxItems   = 32
	sfMaxParams  = 8
)

type sfKind byte

const (
	sfInteger sfKind = iota + 1
	sfString
	sfToken
	sfBytes
	sfBoolean
)

// sfValue is a bare item, RFC 9651 section 3.3.
type sfValue struct {
	kind   sfKind
	number int64  // of an integer; 1 or 0 of a boolean
	text   string // of a string, a token, a byte sequence; unescaped, decoded
}

type sfParam struct {
	key   string
	value sfValue
}

type sfItem struct {
	value  sfValue
	params []sfParam
}

// sfMember is a member of a Dictionary: an item or an inner list, whose
// parameters stand in params too.
type sfMember struct {
	key  string
	list bool
	sfItem
	items []sfItem
}

// parseDictionary reads a Dictionary, RFC 9651 section 4.2.2, more strictly
// than that section. Of a key that stands twice it would keep the last one, so
// that the member which was verified and the member which is used could be two;
// here it is an error. Base64 has one spelling: padded and with no stray bits.
// Decimals, dates and display strings have no place in signatures and are errors.
func parseDictionary(lines []string) ([]sfMember, error) {
	size := 0
	for _, line := range lines {
		size += len(line) + 2
	}
	if size > sfMaxBytes {
		return nil, syntax("the field is too long")
	}
	r := sfReader{strings.Join(lines, ", "), 0}
	r.skip(" ")
	if r.end() {
		return nil, nil
	}
	members := make([]sfMember, 0, 2)
	for {
		m, err := r.member()
		if err != nil {
			return nil, err
		}
		for i := range members {
			if members[i].key == m.key {
				return nil, syntax("a key stands twice")
			}
		}
		if members = append(members, m); len(members) > sfMaxMembers {
			return nil, syntax("too many members")
		}
		r.skip(" \t")
		if r.end() {
			return members, nil
		}
		if !r.take(',') {
			return nil, syntax("a comma is missing")
		}
		r.skip(" \t")
	}
}

type sfReader struct {
	s string
	i int
}

func (r *sfReader) end() bool { return r.i == len(r.s) }

// peek returns the next byte, or NUL at the end, which no production begins with.
func (r *sfReader) peek() byte {
	if r.end() {
		return 0
	}
	return r.s[r.i]
}

func (r *sfReader) take(c byte) bool {
	if r.end() || r.s[r.i] != c {
		return false
	}
	r.i++
	return true
}

func (r *sfReader) skip(set string) {
	for !r.end() && strings.IndexByte(set, r.s[r.i]) >= 0 {
		r.i++
	}
}

// run returns the bytes from here on that are in the class.
func (r *sfReader) run(class func(byte) bool) string {
	start := r.i
	for !r.end() && class(r.s[r.i]) {
		r.i++
	}
	return r.s[start:r.i]
}

func (r *sfReader) member() (m sfMember, err error) {
	if m.key, err = r.key(); err != nil {
		return m, err
	}
	switch {
	case !r.take('='):
		m.value = sfValue{kind: sfBoolean, number: 1}
	case r.take('('):
		m.list = true
		m.items, err = r.items()
	default:
		m.value, err = r.value()
	}
	if err == nil {
		m.params, err = r.params()
	}
	return m, err
}

// items reads an inner list behind its opening parenthesis.
func (r *sfReader) items() ([]sfItem, error) {
	items := make([]sfItem, 0, 6)
	for {
		r.skip(" ")
		if r.take(')') {
			return items, nil
		}
		if len(items) == sfMaxItems {
			return nil, syntax("too many items in a list")
		}
		var it sfItem
		var err error
		if it.value, err = r.value(); err == nil {
			it.params, err = r.params()
		}
		if err != nil {
			return nil, err
		}
		if c := r.peek(); c != ' ' && c != ')' {
			return nil, syntax("a list does not end")
		}
		items = append(items, it)
	}
}

func (r *sfReader) params() ([]sfParam, error) {
	var params []sfParam
	for r.take(';') {
		r.skip(" ")
		key, err := r.key()
		if err != nil {
			return nil, err
		}
		p := sfParam{key, sfValue{kind: sfBoolean, number: 1}}
		if r.take('=') {
			if p.value, err = r.value(); err != nil {
				return nil, err
			}
		}
		for i := range params {
			if params[i].key == key {
				return nil, syntax("a parameter stands twice")
			}
		}
		if len(params) == sfMaxParams {
			return nil, syntax("too many parameters")
		}
		if params == nil {
			params = make([]sfParam, 0, 4)
		}
		params = append(params, p)
	}
	return params, nil
}

func (r *sfReader) key() (string, error) {
	if c := r.peek(); !isLower(c) && c != '*' {
		return "", syntax("a key is missing")
	}
	return r.run(isKeyByte), nil
}

func (r *sfReader) value() (sfValue, error) {
	switch c := r.peek(); {
	case c == '"':
		return r.string()
	case c == ':':
		return r.bytes()
	case c == '?':
		return r.boolean()
	case c == '-' || isDigit(c):
		return r.integer()
	case c == '*' || isAlpha(c):
		return sfValue{kind: sfToken, text: r.run(isTokenByte)}, nil
	}
	return sfValue{}, syntax("a value is missing or of a type that has no place here")
}

func (r *sfReader) integer() (sfValue, error) {
	negative := r.take('-')
	digits := r.run(isDigit)
	if digits == "" || len(digits) > 15 || r.peek() == '.' {
		return sfValue{}, syntax("a number is no integer of at most 15 digits")
	}
	v := sfValue{kind: sfInteger}
	for i := range len(digits) {
		v.number = v.number*10 + int64(digits[i]-'0')
	}
	if negative {
		v.number = -v.number
	}
	return v, nil
}

func (r *sfReader) string() (sfValue, error) {
	r.i++
	start, escaped := r.i, false
	for ; !r.end(); r.i++ {
		switch c := r.s[r.i]; {
		case c == '"':
			text := r.s[start:r.i]
			r.i++
			if escaped {
				text = unescape.Replace(text)
			}
			return sfValue{kind: sfString, text: text}, nil
		case c == '\\':
			escaped = true
			if r.i++; r.peek() != '"' && r.peek() != '\\' {
				return sfValue{}, syntax("a string has an unknown escape")
			}
		case c < 0x20 || c > 0x7E:
			return sfValue{}, syntax("a string has a byte that no string may have")
		}
	}
	return sfValue{}, syntax("a string does not end")
}

var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`)

func (r *sfReader) bytes() (sfValue, error) {
	r.i++
	text := r.run(isBase64Byte) // checked, since the decoder skips line ends
	if !r.take(':') {
		return sfValue{}, syntax("a byte sequence does not end")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return sfValue{}, syntax("a byte sequence is no base64")
	}
	return sfValue{kind: sfBytes, text: string(raw)}, nil
}

func (r *sfReader) boolean() (sfValue, error) {
	r.i++
	v := sfValue{kind: sfBoolean}
	switch {
	case r.take('1'):
		v.number = 1
	case !r.take('0'):
		return v, syntax("a boolean is neither ?0 nor ?1")
	}
	return v, nil
}
