package hmacsig

import (
	"fmt"
	"net/http"
	"time"
)

// maxLabels bounds the signatures of one request. A client needs one; proxies on
// the way may add theirs.
const maxLabels = 8

// MessageParams are the parameters of a message signature, RFC 9421 section 2.3.
// Texts are empty and times zero where the signature has no such parameter; no
// signature may have an empty one.
type MessageParams struct {
	KeyID   string
	Created time.Time // in whole seconds
	Expires time.Time // in whole seconds
	Nonce   string
	Alg     string
	Tag     string
}

// MessageClaim is one signature of a request as it was sent: nothing in it is
// proven. A claim is immutable.
type MessageClaim struct {
	params    MessageParams
	input     sfMember // of Signature-Input
	signature string
}

// Params returns what the signature says about itself. It is unproven: fit to
// look a key up, and for nothing else.
func (c *MessageClaim) Params() MessageParams { return c.params }

// CarriesMessage reports whether a request has, or pretends to have, a message
// signature: such a request must pass for its signature or not at all.
func CarriesMessage(h http.Header) bool {
	return h["Signature"] != nil || h["Signature-Input"] != nil
}

// ParseMessage reads the signatures of a request, RFC 9421 section 4. It returns
// at least one, in the order of Signature-Input; their labels mean nothing and
// are forgotten. All of them have to be well-formed, and the labels of the two
// fields the same. Errors wrap ErrSyntax.
func ParseMessage(h http.Header) ([]*MessageClaim, error) {
	inputs, err := parseDictionary(h["Signature-Input"])
	if err != nil {
		return nil, fmt.Errorf("%w (in Signature-Input)", err)
	}
	signatures, err := parseDictionary(h["Signature"])
	if err != nil {
		return nil, fmt.Errorf("%w (in Signature)", err)
	}
	switch {
	case len(inputs) == 0 || len(signatures) == 0:
		return nil, syntax("Signature and Signature-Input are both needed")
	case len(inputs) > maxLabels:
		return nil, syntax("too many signatures")
	case len(inputs) != len(signatures):
		return nil, syntax("Signature and Signature-Input have not the same labels")
	}
	claims := make([]*MessageClaim, len(inputs))
	for i := range inputs {
		// Both have unique labels and the same number of them, so that finding
		// each label of one in the other makes them equal.
		signature := labelled(signatures, inputs[i].key)
		if signature == nil {
			return nil, syntax("Signature and Signature-Input have not the same labels")
		}
		if claims[i], err = newMessageClaim(inputs[i], signature); err != nil {
			return nil, err
		}
	}
	return claims, nil
}

func labelled(members []sfMember, label string) *sfMember {
	for i := range members {
		if members[i].key == label {
			return &members[i]
		}
	}
	return nil
}

func newMessageClaim(input sfMember, signature *sfMember) (*MessageClaim, error) {
	if signature.list || signature.value.kind != sfBytes || len(signature.params) > 0 {
		return nil, syntax("a signature is no byte sequence")
	}
	if !input.list {
		return nil, syntax("the covered components are no list")
	}
	for i := range input.items {
		if input.items[i].value.kind != sfString {
			return nil, syntax("a component's name is no string")
		}
	}
	c := &MessageClaim{input: input, signature: signature.value.text}
	for i := range input.params {
		if err := c.params.set(input.params[i]); err != nil {
			return nil, err
		}
	}
	if p := c.params; !p.Expires.IsZero() && !p.Expires.After(p.Created) {
		return nil, syntax("the signature expires before it was made")
	}
	return c, nil
}

// set takes one parameter over. RFC 9421 lets verifiers ignore parameters that
// they do not know; since such a one may narrow what the signer meant, a
// signature with one is refused.
func (p *MessageParams) set(param sfParam) error {
	text, at, kind := (*string)(nil), (*time.Time)(nil), sfString
	switch param.key {
	case "keyid":
		text = &p.KeyID
	case "nonce":
		text = &p.Nonce
	case "alg":
		text = &p.Alg
	case "tag":
		text = &p.Tag
	case "created":
		at, kind = &p.Created, sfInteger
	case "expires":
		at, kind = &p.Expires, sfInteger
	default:
		return syntax("the signature has an unknown parameter")
	}
	switch {
	case param.value.kind != kind:
		return syntax("a parameter of the signature has the wrong type")
	case param.value.number < 0:
		return syntax("a time of the signature is negative")
	case at != nil:
		*at = time.Unix(param.value.number, 0)
	case param.value.text == "":
		return syntax("a parameter of the signature is empty")
	default:
		*text = param.value.text
	}
	return nil
}
