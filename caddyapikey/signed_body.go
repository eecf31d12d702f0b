package caddyapikey

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// How a signed body is handled, see Rule.SignedBody.
const (
	bodyBuffer = "buffer"
	bodyStream = "stream"
	bodyOff    = "off"
)

// bodyRule returns how the rules that match want a signed body handled: the
// strictest of what they say, and the smallest limit.
func (h *Handler) bodyRule(rules *ruleSet) (mode string, limit int64) {
	limit = h.Signature.BodyLimit
	own := false
	rank := map[string]int{bodyOff: 1, bodyStream: 2, bodyBuffer: 3}
	for i, rule := range h.Rules {
		if !rules.has(i) {
			continue
		}
		if rank[rule.SignedBody] > rank[mode] {
			mode = rule.SignedBody
		}
		if rule.BodyLimit > 0 && (!own || rule.BodyLimit < limit) {
			limit, own = rule.BodyLimit, true
		}
	}
	if mode == "" {
		mode = bodyBuffer
	}
	return mode, limit
}

// verifyBody checks the body against what was signed. Nothing of it is read
// before: an unknown caller never makes us. When it refuses, the body is still
// as it came, for a handler that only observes.
func (h *Handler) verifyBody(r *http.Request, d *decision) *refusal {
	_, _, once := d.signed.nonce()
	digest := d.signed.body()
	hasBody := r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody
	if hasBody && digest == nil && r.ContentLength < 0 {
		d.waited = true
		hasBody = !isEmpty(r)
	}
	if !once { // a bewit, for GET and HEAD alone, covers no body
		if hasBody {
			return thinSignature
		}
		return nil
	}
	mode, limit := h.bodyRule(&d.rules)
	switch {
	case mode == bodyOff:
		return nil
	case digest == nil && hasBody:
		return unsignedBody
	case digest == nil:
		return nil
	case !hasBody:
		return whyBody(digest.Verify())
	case mode == bodyStream && h.Mode == modeObserve:
		return nil // by the time when it is known, nothing may be broken off
	case mode == bodyStream:
		r.Body = &verifiedBody{body: r.Body, digest: digest}
		return nil
	}
	return bufferBody(r, d, digest, limit)
}

// isEmpty reports whether a body of unknown length has none: over HTTP/3 no
// request says so beforehand.
func isEmpty(r *http.Request) bool {
	var first [1]byte
	if _, err := io.ReadFull(r.Body, first[:]); err == io.EOF {
		r.Body, r.ContentLength = http.NoBody, 0
		return true
	} else if err == nil {
		putBack(r, first[:])
	}
	return false
}

func whyBody(err error) *refusal {
	if err == nil {
		return nil
	}
	return badDigest
}

// bufferBody reads the whole body, checks it, and puts it back. It takes room
// until the end of the request.
func bufferBody(r *http.Request, d *decision, digest bodyDigest, limit int64) *refusal {
	if r.ContentLength > limit {
		return largeBody
	}
	room := limit
	if r.ContentLength > 0 {
		room = r.ContentLength
	}
	key := d.key.ID()
	if why := bodies.take(key, room); why != nil {
		return why
	}
	d.atEnd(func() { bodies.give(key, room) })
	d.waited = true
	var whole bytes.Buffer
	n, err := io.Copy(&whole, io.LimitReader(r.Body, limit+1))
	why := (*refusal)(nil)
	switch {
	case n > limit:
		why = largeBody
	case err != nil:
		why = brokenBody
	default:
		_, _ = digest.Write(whole.Bytes())
		why = whyBody(digest.Verify())
	}
	if why != nil {
		putBack(r, whole.Bytes())
		return why
	}
	bodies.give(key, room-n) // a length that nobody announced is known now
	room = n
	r.Body = heldBody{bytes.NewReader(whole.Bytes()), r.Body}
	r.ContentLength = n
	return nil
}

// putBack has a body begin again with what was read of it.
func putBack(r *http.Request, read []byte) {
	r.Body = heldBody{io.MultiReader(bytes.NewReader(read), r.Body), r.Body}
}

// heldBody is a body in memory, and the closing of the one it was read from.
type heldBody struct {
	io.Reader
	io.Closer
}

// verifiedBody hands a body on while it is read, and holds its last bytes back
// until it is whole and fits its digest: an upstream that waits for the end of a
// request before it acts never acts on another one.
type verifiedBody struct {
	body   io.ReadCloser
	digest bodyDigest
	held   []byte // read, hashed, and not handed on
	spare  []byte
	err    error // of body, once it has ended
}

// blockSize is how much of a streamed body is held back at least, if it has so
// much.
const blockSize = 16 << 10

var errStreamDigest = errors.New("the body does not fit its signed digest")

// Read hands on what is not among the last bytes.
func (b *verifiedBody) Read(p []byte) (int, error) {
	for b.err == nil && len(b.held) <= blockSize {
		b.fill()
	}
	ready := len(b.held)
	if b.err == nil {
		ready -= blockSize
	} else if b.err != io.EOF {
		return 0, b.err
	}
	n := copy(p, b.held[:ready])
	b.held = b.held[n:]
	if len(b.held) == 0 && b.err != nil {
		return n, b.err
	}
	return n, nil
}

// fill reads the next part. At the end of the body it is decided whether the
// rest may go.
func (b *verifiedBody) fill() {
	if b.spare == nil {
		b.spare = make([]byte, blockSize)
	}
	n, err := b.body.Read(b.spare)
	_, _ = b.digest.Write(b.spare[:n])
	b.held = append(b.held, b.spare[:n]...)
	if err == io.EOF && b.digest.Verify() != nil {
		err = errStreamDigest
	}
	b.err = err
}

// Close closes the body.
func (b *verifiedBody) Close() error { return b.body.Close() }
