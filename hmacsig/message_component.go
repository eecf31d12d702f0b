package hmacsig

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// component is a component identifier, RFC 9421 section 2: a name and at most
// one parameter. No two parameters that this package offers go together, which
// leaves every identifier one spelling.
type component struct {
	name  string
	param string // "", "sf", "key", "bs" or "name"
	value string // of "key" and "name"
}

// derived are the derived components that are offered, RFC 9421 section 2.2.
// @request-target is not: only HTTP/1.1 has it, and it holds nothing more.
var derived = map[string]bool{
	"@method": true, "@authority": true, "@scheme": true, "@target-uri": true,
	"@path": true, "@query": true, "@query-param": true,
}

// dictionaries are the fields known to be Dictionaries, for sf and key.
var dictionaries = map[string]bool{
	"content-digest": true, "repr-digest": true, "want-content-digest": true,
	"want-repr-digest": true, "priority": true,
}

// newComponent takes an identifier over if it makes sense in a request. A
// parameter that is unknown, or that only responses (req) or trailers (tr) have,
// must not be ignored: RFC 9421 section 2.5.
func newComponent(it *sfItem) (component, error) {
	c := component{name: it.value.text}
	isDerived := strings.HasPrefix(c.name, "@")
	switch {
	case isDerived && !derived[c.name]:
		return c, syntax("an unknown derived component")
	case !isDerived && !isFieldName(c.name):
		return c, syntax("a component's name is no field name in lower case")
	case len(it.params) > 1:
		return c, syntax("a component has more parameters than one")
	case len(it.params) == 1:
		p := it.params[0]
		c.param = p.key
		flag := p.value.kind == sfBoolean && p.value.number == 1
		switch {
		case c.name == "@query-param" && c.param == "name" && p.value.kind == sfString:
			c.value = p.value.text
		case isDerived:
			return c, syntax("a derived component has a parameter that it cannot have")
		case c.param == "bs" && flag:
		case c.param == "sf" && flag && dictionaries[c.name]:
		case c.param == "key" && p.value.kind == sfString && dictionaries[c.name]:
			c.value = p.value.text
		default:
			return c, syntax("a field has a parameter that cannot be honoured")
		}
	case c.name == "@query-param":
		return c, syntax("@query-param has no name")
	}
	return c, nil
}

// isFieldName reports whether the text is a field name in lower case.
func isFieldName(text string) bool {
	return text != "" && all(text, func(c byte) bool {
		return isMethodByte(c) && (!isAlpha(c) || isLower(c))
	})
}

// appendComponent writes a component's value, RFC 9421 sections 2.1 and 2.2.
func (s *signed) appendComponent(b []byte, c component) ([]byte, error) {
	switch c.name {
	case "@method":
		return append(b, s.r.Method...), nil
	case "@scheme":
		return append(b, s.scheme...), nil
	case "@authority":
		return append(b, s.authority...), nil
	case "@path":
		return append(b, s.path...), nil
	case "@query":
		return append(append(b, '?'), s.query...), nil
	case "@query-param":
		return s.appendQueryParam(b, c.value)
	case "@target-uri":
		b = append(append(append(b, s.scheme...), "://"...), s.authority...)
		b = append(b, s.path...)
		if s.hasQuery {
			b = append(append(b, '?'), s.query...)
		}
		return b, nil
	}
	return s.appendField(b, c)
}

// appendField writes a field's value, RFC 9421 section 2.1. A field that the
// request does not have is an error there, not an empty value.
func (s *signed) appendField(b []byte, c component) ([]byte, error) {
	lines := s.field(c.name)
	if len(lines) == 0 {
		return b, mismatch("the request lacks a field that is signed")
	}
	for _, line := range lines {
		if err := s.spend(len(line)); err != nil {
			return b, err
		}
	}
	switch c.param {
	case "sf", "key":
		members, err := parseDictionary(lines)
		if err != nil {
			return b, err
		}
		if c.param == "sf" {
			return appendDictionary(b, members), nil
		}
		m := labelled(members, c.value)
		if m == nil {
			return b, mismatch("the request lacks a field's member that is signed")
		}
		return appendMember(b, m), nil
	case "bs":
		for i, line := range lines {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(b, ':')
			b = base64.StdEncoding.AppendEncode(b, []byte(strings.Trim(line, " \t")))
			b = append(b, ':')
		}
		return b, nil
	}
	for i, line := range lines {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, strings.Trim(line, " \t")...)
	}
	return b, nil
}

// field returns the lines of a field. net/http keeps two fields elsewhere: Host
// always, Content-Length in requests that a client has not sent yet.
func (s *signed) field(name string) []string {
	switch name {
	case "host":
		return []string{s.r.Authority}
	case "content-length":
		if s.r.Header["Content-Length"] == nil && s.r.ContentLength > 0 {
			return []string{strconv.FormatInt(s.r.ContentLength, 10)}
		}
	}
	return s.r.Header.Values(name)
}
