package hmacsig

import "errors"

// What can be wrong with a signed request. Errors of this package wrap one of
// these; their texts repeat nothing of the request and hold no secret.
var (
	// ErrSyntax is a signature that cannot be read, or that two parsers could
	// read differently. Nothing about it may be believed.
	ErrSyntax = errors.New("malformed signature")

	// ErrCoverage is a signature that leaves out what must be signed.
	ErrCoverage = errors.New("the signature does not cover enough")

	// ErrSignature is a signature that the key did not make for this request.
	ErrSignature = errors.New("the signature does not fit")

	// ErrStale is a good signature whose time is too far from now.
	ErrStale = errors.New("the signature's time is outside the window")

	// ErrDigest is a body that has not the digest that was signed.
	ErrDigest = errors.New("the body does not fit its signed digest")
)
