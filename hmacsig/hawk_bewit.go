package hmacsig

import (
	"encoding/base64"
	"strings"
	"time"
)

// HawkBewit is what a URL that carries its own credentials says about itself: a
// bewit parameter in the query, good for GET and HEAD until it expires, as often
// as anybody who got hold of the URL likes. Nothing in it is proven yet.
type HawkBewit struct {
	id, exp, mac, ext string
	target            string // without the bewit
	until             int64
}

// ParseHawkBewit reads the bewit of a request. It returns ErrNotHawk if there is
// none, ErrSyntax if it is malformed, if there are two, or if the request has an
// Authorization field besides, and ErrCoverage if the method is none that bewits
// are for.
//
// Only a parameter spelled "bewit" in the query is one. The reference looks for
// it in the path too, and takes the last of several.
func ParseHawkBewit(r *Request) (HawkBewit, error) {
	text, target, err := cutBewit(r.Target)
	switch {
	case err != nil:
		return HawkBewit{}, err
	case len(r.Target) > MaxHawk:
		return HawkBewit{}, hawkSyntax("the request-target is too long for a bewit")
	case r.Method != "GET" && r.Method != "HEAD":
		return HawkBewit{}, ErrCoverage
	case len(r.Header["Authorization"]) > 0:
		return HawkBewit{}, hawkSyntax("a bewit beside an Authorization field")
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || base64.RawURLEncoding.EncodeToString(raw) != text {
		return HawkBewit{}, hawkSyntax("the bewit's encoding")
	}
	parts := strings.Split(string(raw), `\`)
	if len(parts) != 4 || parts[0] == "" || parts[2] == "" || !isBewitText(string(raw)) {
		return HawkBewit{}, hawkSyntax("the bewit's parts")
	}
	b := HawkBewit{id: parts[0], exp: parts[1], mac: parts[2], ext: parts[3], target: target}
	var ok bool
	if b.until, ok = hawkSecond(b.exp); !ok {
		return HawkBewit{}, hawkSyntax("the bewit's end is not a number of seconds")
	}
	return b, nil
}

// cutBewit takes the bewit out of a request-target, with the separator that
// stands before it, or behind it if it comes first.
func cutBewit(target string) (bewit, without string, err error) {
	path, query, _ := strings.Cut(target, "?")
	found := false
	rest := make([]string, 0, 8)
	for part := range strings.SplitSeq(query, "&") {
		value, ok := strings.CutPrefix(part, "bewit=")
		if !ok {
			rest = append(rest, part)
			continue
		}
		if found {
			return "", "", hawkSyntax("two bewits")
		}
		bewit, found = value, true
	}
	switch {
	case !found:
		return "", "", ErrNotHawk
	case strings.HasSuffix(target, "&"): // the reference sees no bewit here
		return "", "", hawkSyntax("the query ends in &")
	case len(rest) == 0:
		return bewit, path, nil
	}
	return bewit, path + "?" + strings.Join(rest, "&"), nil
}

// bewitText is what a bewit parameter holds.
func bewitText(id, exp, mac, ext string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(id + `\` + exp + `\` + mac + `\` + ext))
}

// isBewitText allows in a bewit what Hawk allows in a field, and quotation marks.
func isBewitText(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7E {
			return false
		}
	}
	return true
}

// ID returns the id of the key that is claimed to have signed.
func (b HawkBewit) ID() string { return b.id }

// HawkBewitProof is a URL that one key has signed. Only [HawkBewit.Verify] makes
// one; the zero HawkBewitProof has expired.
type HawkBewitProof struct {
	id, ext, target string
	until           int64
}

// Verify checks the bewit as [HawkClaim.Verify] does a signature.
func (b HawkBewit) Verify(key Key, r *Request, authorities ...string) (*HawkBewitProof, error) {
	if len(key.secret) == 0 {
		return nil, b.VerifyUnknown(r, authorities...)
	}
	without := *r
	without.Target = b.target
	a, err := without.hawkArtifacts("bewit")
	if err != nil {
		return nil, err
	}
	a.ts, a.method, a.ext = b.exp, "GET", b.ext
	fits, err := a.fits(b.mac, key, r, authorities)
	if err != nil {
		return nil, err
	}
	if !fits {
		return nil, ErrSignature
	}
	return &HawkBewitProof{id: b.id, ext: b.ext, target: b.target, until: b.until}, nil
}

// VerifyUnknown does the work of Verify for an id that has no key, and fails.
func (b HawkBewit) VerifyUnknown(r *Request, authorities ...string) error {
	if _, err := b.Verify(hawkDecoy, r, authorities...); err != nil {
		return err
	}
	return ErrSignature
}

// ID returns the id under which the URL was signed.
func (p *HawkBewitProof) ID() string { return p.id }

// Ext returns what the signer has to say besides, or "".
func (p *HawkBewitProof) Ext() string { return p.ext }

// Target returns the request-target without the bewit, which whoever answers the
// request need not see.
func (p *HawkBewitProof) Target() string { return p.target }

// Fresh returns ErrStale if the bewit has expired, or if it still has longer to
// live than lifetime. A bewit does not say when it was made: one that was made
// for too long is refused at first and gets good when its end comes near.
func (p *HawkBewitProof) Fresh(now time.Time, lifetime time.Duration) error {
	if left := time.Unix(p.until, 0).Sub(now); left <= 0 || left > lifetime {
		return ErrStale
	}
	return nil
}
