package caddyapikey

import "net/http"

// headerOwner knows a set of headers that only this server may set: identity headers, and headers that
// claim another method or path. It removes every copy that a client sent, whatever the case and with
// `-`, `_` and `.` taken for one another, because CGI-style upstreams cannot tell those apart.
// It is read-only once made, and safe for concurrent use.
type headerOwner struct {
	byLength [][]string // names of that length, lower-case with hyphens
}

// newHeaderOwner returns the owner of the named headers.
func newHeaderOwner(names []string) headerOwner {
	var o headerOwner
	for _, name := range names {
		for len(o.byLength) <= len(name) {
			o.byLength = append(o.byLength, nil)
		}
		folded := make([]byte, len(name))
		for i := range folded {
			folded[i] = foldHeader(name[i])
		}
		o.byLength[len(name)] = append(o.byLength[len(name)], string(folded))
	}
	return o
}

// remove deletes the owned headers from h, which may be nil.
func (o *headerOwner) remove(h http.Header) {
	if len(o.byLength) == 0 {
		return
	}
	for key := range h {
		if o.owns(key) {
			delete(h, key)
		}
	}
}

// ownsAny reports whether h, which may be nil, holds an owned header.
func (o *headerOwner) ownsAny(h http.Header) bool {
	for key := range h {
		if o.owns(key) {
			return true
		}
	}
	return false
}

// owns reports whether an upstream may take the header for an owned one.
func (o *headerOwner) owns(key string) bool {
	if len(key) >= len(o.byLength) {
		return false
	}
names:
	for _, name := range o.byLength[len(key)] {
		// Backwards: families of headers share their beginning.
		for i := len(key) - 1; i >= 0; i-- {
			if foldHeader(key[i]) != name[i] {
				continue names
			}
		}
		return true
	}
	return false
}

func foldHeader(c byte) byte {
	if c == '_' || c == '.' {
		return '-'
	}
	return lowerASCII(c)
}
