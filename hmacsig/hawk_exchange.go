package hmacsig

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// hawkExchange is what a client keeps of a request to check its answer.
type hawkExchange struct {
	key     Key
	signed  hawkArtifacts
	require bool
}

// Clock believes a time that the owner of the key has signed. The signature is
// not bound to the request, so an old one can be played back: it makes the next
// request fail, and gives its sender no other.
func (e *hawkExchange) Clock(answer *http.Response) (time.Time, bool) {
	if answer.StatusCode != http.StatusUnauthorized {
		return time.Time{}, false
	}
	for _, value := range answer.Header["Www-Authenticate"] {
		var challenge hawkAttributes
		if challenge.parse(value, hawkChallengeNames) != nil || challenge.ts == "" {
			continue
		}
		second, ok := hawkSecond(challenge.ts)
		if ok && sameHawkMAC(challenge.tsm, e.key.tsm(challenge.ts)) {
			return time.Unix(second, 0), true
		}
	}
	return time.Time{}, false
}

// Check verifies the Server-Authorization field.
func (e *hawkExchange) Check(answer *http.Response) error {
	values := answer.Header["Server-Authorization"]
	if len(values) == 0 && !e.require {
		return nil
	}
	if len(values) != 1 {
		return fmt.Errorf("%w: an answer with status %d has %d Server-Authorization fields", ErrCoverage, answer.StatusCode, len(values))
	}
	var said hawkAttributes
	if err := said.parse(values[0], hawkAnswerNames); err != nil {
		return fmt.Errorf("the Server-Authorization of an answer with status %d: %w", answer.StatusCode, err)
	}
	a := e.signed
	a.kind, a.hash, a.ext = "response", said.hash, said.ext
	if !sameHawkMAC(a.mac(e.key), said.mac) {
		return fmt.Errorf("the Server-Authorization of an answer with status %d: %w", answer.StatusCode, ErrSignature)
	}
	if said.hash != "" && e.signed.method != http.MethodHead { // whose answer has no body to be checked
		answer.Body = &hawkAnswerBody{
			ReadCloser: answer.Body,
			hash:       NewHawkHash(e.key, answer.Header.Get("Content-Type")),
			signed:     said.hash,
		}
	}
	return nil
}

// Format hides the key from logs.
func (*hawkExchange) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[hawk exchange]")) }

// hawkAnswerBody ends in ErrDigest instead of io.EOF if it is not the body that
// was signed.
type hawkAnswerBody struct {
	io.ReadCloser
	hash   *HawkHash
	signed string
}

func (b *hawkAnswerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.hash.sum == "" {
		_, _ = b.hash.Write(p[:n])
	}
	if errors.Is(err, io.EOF) && !sameHawkMAC(b.hash.Sum(), b.signed) {
		err = ErrDigest
	}
	return n, err
}
