package caddyapikey

// maxParams is how many parameters net/url parses; of a query with more, matchers and placeholders see
// none.
const maxParams = 10000

// scanRaw looks for bytes that must not stand unencoded in a query, where encoded ones are data, and for
// what makes net/url drop parameters that other parsers read.
func scanRaw(query string) (failed checkSet) {
	params := 1
	for i := 0; i < len(query); i++ {
		switch c := query[i]; {
		case c <= ' ' || c == 0x7f:
			failed |= checkControlBytes
		case c == '#':
			failed |= checkFragment
		case c == ';', c == '%' && (i+2 >= len(query) || !isHex(query[i+1]) || !isHex(query[i+2])):
			failed |= checkMalformedQuery
		case c == '&':
			params++
		}
	}
	if params > maxParams {
		failed |= checkMalformedQuery
	}
	return failed
}

// overridesMethod reports whether any parameter would be read as _method, by upstreams that separate
// parameters at semicolons too.
func overridesMethod(query string) bool {
	start, inName := 0, true
	for i := 0; i <= len(query); i++ {
		switch {
		case i == len(query) || query[i] == '&' || query[i] == ';':
			if inName && sameParam(query[start:i], "_method") {
				return true
			}
			start, inName = i+1, true
		case inName && query[i] == '=':
			if sameParam(query[start:i], "_method") {
				return true
			}
			inName = false
		}
	}
	return false
}
