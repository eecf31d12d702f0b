package hmacsig

import "fmt"

// syntax returns an ErrSyntax that says what is wrong, in words that repeat
// nothing of the request.
func syntax(what string) error { return fmt.Errorf("%w: %s", ErrSyntax, what) }

// mismatch returns an ErrSignature that says why no signature could fit.
func mismatch(what string) error { return fmt.Errorf("%w: %s", ErrSignature, what) }

// Base returns the signature base, RFC 9421 section 2.5: the bytes that the
// signer must have signed, if it signed this request. It holds no secret but
// what the covered fields hold, and helps to find out why a signature does not
// fit. Errors wrap ErrSyntax or ErrSignature.
func (c *MessageClaim) Base(r *Request) ([]byte, error) {
	s, err := takeApart(r)
	if err != nil {
		return nil, err
	}
	return s.base(&c.input)
}

// base writes a line for each component of the list and one for the list itself.
// Its cost is bounded by the budget and by the number of components.
func (s *signed) base(input *sfMember) ([]byte, error) {
	b := make([]byte, 0, 1024)
	var seen [sfMaxItems]component
	for i := range input.items {
		it := &input.items[i]
		c, err := newComponent(it)
		if err != nil {
			return nil, err
		}
		for j := range i {
			if seen[j] == c {
				return nil, syntax("a component stands twice")
			}
		}
		seen[i] = c
		b = appendParams(appendString(b, c.name), it.params)
		b = append(b, ": "...)
		start := len(b)
		if b, err = s.appendComponent(b, c); err != nil {
			return nil, err
		}
		// No value may hold a line feed, or it could hold a line of its own.
		for _, v := range b[start:] {
			if !isPrintable(v) && v != '\t' {
				return nil, mismatch("a signed component has bytes that cannot be signed")
			}
		}
		b = append(b, '\n')
	}
	b = append(b, `"@signature-params": `...)
	return appendMember(b, input), nil
}
