package hmacsig

import (
	"errors"
	"fmt"
	"strings"
)

// Hawk 1.1 has no specification but its reference, the npm package hawk. What
// this package says of "the reference" was measured with its last version,
// 9.0.2. Where the reference lets a signature mean two things, or live for ever,
// this package refuses it; the tests name each such case.

// MaxHawk is the greatest length of a Hawk field value, and of a request-target
// with a bewit, in bytes. It is the reference's limit, which it got after long
// ones had stopped servers (CVE-2016-2515).
const MaxHawk = 4096

// ErrNotHawk is returned for a request that has no Hawk credentials, be it that
// it has others or none.
var ErrNotHawk = errors.New("no Hawk credentials")

// HawkClaim is what an Authorization field says about its request. Nothing in it
// is proven, so it tells no more than whose key it takes to find out.
type HawkClaim struct {
	hawkAttributes
	second int64 // the whole seconds of ts
}

// ParseHawk reads the value of an Authorization field. It returns ErrNotHawk if
// that is of another scheme, and ErrSyntax if it is of Hawk and malformed. A
// request with two such fields has none to be read; that is for the caller to see.
//
// The grammar is the reference's, less what gives one signature two readings: no
// trailing comma, no dlg without app (it would not be signed), and a ts that is
// a number of seconds, 1 to 12 digits without a leading zero, with or without a
// fraction of up to 9 digits. Of the fraction only the signature takes notice.
func ParseHawk(authorization string) (HawkClaim, error) {
	c := HawkClaim{}
	if err := c.parse(authorization, hawkRequestNames); err != nil {
		return HawkClaim{}, err
	}
	if c.id == "" || c.ts == "" || c.nonce == "" || c.mac == "" {
		return HawkClaim{}, hawkSyntax("id, ts, nonce and mac are needed")
	}
	if c.dlg != "" && c.app == "" {
		return HawkClaim{}, hawkSyntax("dlg without app")
	}
	second, fraction, point := strings.Cut(c.ts, ".")
	if point && (len(fraction) < 1 || len(fraction) > 9 || !hawkDigits(fraction)) {
		return HawkClaim{}, hawkSyntax("ts is not a number of seconds")
	}
	var ok bool
	if c.second, ok = hawkSecond(second); !ok {
		return HawkClaim{}, hawkSyntax("ts is not a number of seconds")
	}
	return c, nil
}

// ID returns the id of the key that is claimed to have signed. The signature
// does not cover it: two ids with one secret are one signer.
func (c HawkClaim) ID() string { return c.id }

// hawkSecond reads a whole number of seconds since 1970.
func hawkSecond(s string) (int64, bool) {
	if s == "" || len(s) > 12 || s[0] == '0' || !hawkDigits(s) {
		return 0, false
	}
	n := int64(0)
	for i := range len(s) {
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}

func hawkDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// hawkSyntax says what is malformed, in words that are not the request's.
func hawkSyntax(what string) error { return fmt.Errorf("%w: hawk: %s", ErrSyntax, what) }
