package hmacsig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MessagePolicy says what a message signature must cover and carry before its
// verification means anything, RFC 9421 section 7.2.1. Without options that is
//
//	@method, @authority
//	@path and @query, or @target-uri
//	content-digest, if the request has a body
//	created, keyid and nonce
//
// The options can ask for more, and for no digest or nonce, but for nothing less.
type MessagePolicy struct {
	// Components that must be covered besides: names of fields in lower case,
	// and of derived components.
	Components []string

	// The signature must have this tag, unless it is empty: what applications
	// use to tell their signatures from others (RFC 9421 section 7.2.5).
	Tag string

	// Bodies need not be covered. Who can change a request on its way can then
	// change its body.
	DigestOptional bool

	// Signatures need no nonce. Those without one can be replayed until they
	// expire.
	NonceOptional bool
}

// Validate fails on a policy that no signature could satisfy.
func (p MessagePolicy) Validate() error {
	for _, name := range p.Components {
		if _, err := newComponent(&sfItem{value: sfValue{kind: sfString, text: name}}); err != nil {
			return fmt.Errorf("hmacsig: %q is no component: it must be a field name in lower case, or a derived component without parameters", name)
		}
	}
	if !all(p.Tag, isPrintable) {
		return fmt.Errorf("hmacsig: the tag %q has bytes other than printable ASCII", p.Tag)
	}
	return nil
}

// Choose returns the one signature that the policy's tag and the known key ids
// leave. When two are left, whose request it is would be for the sender to
// choose, who may have added a signature of his own to someone else's request:
// that is ErrSyntax. ErrSignature says that none is left.
func (p MessagePolicy) Choose(claims []*MessageClaim, known func(keyID string) bool) (*MessageClaim, error) {
	var chosen *MessageClaim
	for _, c := range claims {
		if p.Tag != "" && c.params.Tag != p.Tag || c.params.KeyID == "" || !known(c.params.KeyID) {
			continue
		}
		if chosen != nil {
			return nil, syntax("more than one signature applies")
		}
		chosen = c
	}
	if chosen == nil {
		return nil, mismatch("no signature is by a known key")
	}
	return chosen, nil
}

// check returns an ErrCoverage that names what is missing.
func (p MessagePolicy) check(c *MessageClaim, hasBody bool) error {
	var missing []string
	need := func(name, or string) {
		if !c.covers(name) && (or == "" || !c.covers(or)) {
			missing = append(missing, name)
		}
	}
	need("@method", "")
	need("@authority", "")
	need("@path", "@target-uri")
	need("@query", "@target-uri")
	if hasBody && !p.DigestOptional {
		need("content-digest", "")
	}
	for _, name := range p.Components {
		if !slices.Contains(missing, name) {
			need(name, "")
		}
	}
	if c.params.Created.IsZero() {
		missing = append(missing, "created")
	}
	if c.params.KeyID == "" {
		missing = append(missing, "keyid")
	}
	if c.params.Nonce == "" && !p.NonceOptional {
		missing = append(missing, "nonce")
	}
	if p.Tag != "" && c.params.Tag != p.Tag {
		missing = append(missing, "tag")
	}
	if missing != nil {
		return &coverageError{missing}
	}
	return nil
}

// coverageError is the ErrCoverage of a policy.
type coverageError struct{ missing []string }

func (e *coverageError) Error() string {
	return fmt.Sprintf("%v: %s missing", ErrCoverage, strings.Join(e.missing, ", "))
}

func (e *coverageError) Unwrap() error { return ErrCoverage }

// Missing returns what the signature leaves out that a MessagePolicy asks for, if
// err is its ErrCoverage: components, and the names of parameters. They are the
// policy's own words, and none of the request's.
func Missing(err error) []string {
	if e := (*coverageError)(nil); errors.As(err, &e) {
		return e.missing
	}
	return nil
}

// covers reports whether the whole component is signed, not a part of it or a
// form of it that a parameter asks for.
func (c *MessageClaim) covers(name string) bool {
	return slices.ContainsFunc(c.input.items, func(it sfItem) bool {
		return it.value.text == name && len(it.params) == 0
	})
}

// coversWhole reports whether the component is signed in any form but a member
// of it: that says nothing about the others, which anybody may have added.
func (c *MessageClaim) coversWhole(name string) bool {
	return slices.ContainsFunc(c.input.items, func(it sfItem) bool {
		return it.value.text == name && (len(it.params) == 0 || it.params[0].key != "key")
	})
}

// MessageChallenge is a WWW-Authenticate challenge for message signatures. A 401
// must have one (RFC 9110 section 11.6.1), though RFC 9421 registers no scheme.
const MessageChallenge = "Signature"

// AcceptSignature returns the value of an Accept-Signature field, RFC 9421
// section 5, that asks for a signature which satisfies the policy. It cannot ask
// for a nonce or keyid of the signer's own: the values of these parameters are
// those that the signer shall use (section 5.2), and without one they would not
// be of the type that they must have. The policy must be valid.
func (p MessagePolicy) AcceptSignature(hasBody bool) string {
	m := p.input(hasBody)
	m.params = []sfParam{{"created", sfValue{kind: sfBoolean, number: 1}}}
	if p.Tag != "" {
		m.params = append(m.params, sfParam{"tag", sfValue{kind: sfString, text: p.Tag}})
	}
	return string(appendMember([]byte("sig1="), m))
}

// input returns the list of what a signature has to cover.
func (p MessagePolicy) input(hasBody bool) *sfMember {
	names := []string{"@method", "@authority", "@path", "@query"}
	if hasBody && !p.DigestOptional {
		names = append(names, "content-digest")
	}
	m := &sfMember{list: true}
	for _, name := range append(names, p.Components...) {
		it := sfItem{value: sfValue{kind: sfString, text: name}}
		if !slices.ContainsFunc(m.items, func(o sfItem) bool { return o.value == it.value }) {
			m.items = append(m.items, it)
		}
	}
	return m
}
