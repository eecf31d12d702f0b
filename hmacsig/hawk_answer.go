package hmacsig

import (
	"errors"
	"strconv"
	"time"
)

// HawkChallenge returns the value of the WWW-Authenticate field of a 401 answer.
// A request without credentials, for which err is nil or ErrNotHawk, gets a bare
// "Hawk", which may stand beside challenges of other schemes.
//
// A request that came with Hawk and was refused for err gets one with a reason.
// It must be the answer's only challenge: the reference's client fails on any
// other scheme, on two challenges and on a bare one. Pass what [HawkClaim.Verify]
// or [HawkClaim.VerifyUnknown] returned, so that the reason does not tell which
// ids there are; for a stale request there is [HawkProof.StaleChallenge]. An
// answer with status 400, which malformed credentials get, has no challenge.
func HawkChallenge(err error) string {
	switch {
	case err == nil || errors.Is(err, ErrNotHawk):
		return "Hawk"
	case errors.Is(err, ErrSignature):
		return `Hawk error="Bad mac"`
	case errors.Is(err, ErrCoverage):
		return `Hawk error="Missing required payload hash"`
	case errors.Is(err, ErrDigest):
		return `Hawk error="Bad payload hash"`
	case errors.Is(err, ErrReplay):
		return `Hawk error="Invalid nonce"`
	case errors.Is(err, ErrStale):
		return `Hawk error="Stale timestamp"`
	}
	return `Hawk error="Unauthorized"`
}

// StaleChallenge returns the WWW-Authenticate field of the answer to a request
// that is not fresh. It tells the client the server's time, signed, so that the
// client can set its clock by it and sign again. Nobody but the owner of the key
// is told: a signature over any time is one more thing that a stranger could ask
// for.
func (p *HawkProof) StaleChallenge(now time.Time) string {
	ts := strconv.FormatInt(now.Unix(), 10)
	return `Hawk ts="` + ts + `", tsm="` + p.key.tsm(ts) + `", error="Stale timestamp"`
}

// AnswerHash returns what hashes the body of the answer, for ServerAuthorization.
func (p *HawkProof) AnswerHash(contentType string) *HawkHash { return NewHawkHash(p.key, contentType) }

// ServerAuthorization returns the value of the answer's Server-Authorization
// field, by which the client sees that the answer is the key owner's and belongs
// to this request. It covers the body if payload has it, and nothing else of the
// answer, not even the status. payload is nil for an answer that begins before
// its body is known. It fails if ext has characters that no field can carry.
func (p *HawkProof) ServerAuthorization(payload *HawkHash, ext string) (string, error) {
	if !isHawkText(ext) {
		return "", errHawkExt
	}
	a := p.signed
	a.kind, a.hash, a.ext = "response", "", ext
	if payload != nil {
		a.hash = payload.Sum()
	}
	value := `Hawk mac="` + a.mac(p.key) + `"`
	if a.hash != "" {
		value += `, hash="` + a.hash + `"`
	}
	if ext != "" {
		value += `, ext="` + ext + `"`
	}
	return value, nil
}

var errHawkExt = errors.New(`hmacsig: ext has characters that a Hawk field cannot carry: only printable ASCII without " and \ can`)
