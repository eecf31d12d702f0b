package caddyapikey

import (
	"bytes"
	"io"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// answerSigned returns a writer that signs the answer to a request signed with
// Hawk, if that is asked for, and what has to be called when the answer is
// complete.
func (h *Handler) answerSigned(w http.ResponseWriter, r *http.Request, d *decision) (http.ResponseWriter, func() error) {
	none := func() error { return nil }
	hawk, ok := d.signed.(*hawkSignature)
	if !ok {
		return w, none
	}
	switch h.Signature.Hawk.ServerAuthorization {
	case serverAuthBare:
		signed := &signedWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, proof: hawk.proof, logger: h.logger}
		return signed, signed.finish
	case serverAuthHash:
		// The hash is of the content before a coding, which clients take off
		// before they compare; so none may be applied behind us.
		r.Header["Accept-Encoding"] = []string{"identity"}
		held := &heldWriter{
			signedWriter: signedWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, proof: hawk.proof, logger: h.logger},
			key:          d.key.ID(),
			limit:        int(h.Signature.BodyLimit),
			head:         hawk.r.Method == http.MethodHead,
		}
		d.atEnd(held.drop)
		return held, held.finish
	}
	return w, none
}

// signedWriter puts a Server-Authorization field into the answer, in place of
// any that the upstream sent.
type signedWriter struct {
	*caddyhttp.ResponseWriterWrapper
	proof  *hmacsig.HawkProof
	logger *zap.Logger
	wrote  bool
}

func (w *signedWriter) sign(payload *hmacsig.HawkHash) {
	value, err := w.proof.ServerAuthorization(payload, "")
	if err != nil {
		w.logger.Error("signing an answer", zap.Error(err))
		return
	}
	w.Header().Set("Server-Authorization", value)
}

// WriteHeader signs without the body, which is not known yet.
func (w *signedWriter) WriteHeader(status int) {
	if !w.wrote && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.wrote = true
		w.sign(nil)
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// Write writes the header first.
func (w *signedWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom writes the header first.
func (w *signedWriter) ReadFrom(r io.Reader) (int64, error) {
	w.begin()
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError writes the header first.
func (w *signedWriter) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// finish signs an answer of which nothing was written: the server sends it then.
func (w *signedWriter) finish() error {
	if !w.wrote {
		w.sign(nil)
	}
	return nil
}

func (w *signedWriter) begin() {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
}

// heldWriter holds an answer back until it is whole, to sign its body, too. What
// is longer than limit, or finds no room, goes out signed without it.
type heldWriter struct {
	signedWriter
	key    string // whose room it takes
	limit  int
	head   bool
	status int
	body   bytes.Buffer
	passed bool // it is not held any more
}

// WriteHeader keeps the status.
func (w *heldWriter) WriteHeader(status int) {
	switch {
	case status == http.StatusSwitchingProtocols: // there is no answer to hold
		w.passed = true
		w.signedWriter.WriteHeader(status)
	case w.passed || status < 200:
		w.signedWriter.WriteHeader(status)
	case w.status == 0:
		w.status = status
	}
}

// Write keeps the body, as long as it is not too long.
func (w *heldWriter) Write(p []byte) (int, error) {
	if w.passed {
		return w.signedWriter.Write(p)
	}
	if w.body.Len()+len(p) <= w.limit && bodies.take(w.key, int64(len(p))) == nil {
		return w.body.Write(p) // which takes all
	}
	if err := w.pass(); err != nil {
		return 0, err
	}
	return w.signedWriter.Write(p)
}

// ReadFrom writes part by part.
func (w *heldWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, r) // which hides ReadFrom
}

// FlushError keeps what is held: a part of a body has no hash.
func (w *heldWriter) FlushError() error {
	if w.passed {
		return w.signedWriter.FlushError()
	}
	return nil
}

// Unwrap hides the connection as long as the answer is held: what is written past
// us could not be signed.
func (w *heldWriter) Unwrap() http.ResponseWriter {
	if w.passed {
		return w.ResponseWriter
	}
	return nil
}

// pass gives up holding.
func (w *heldWriter) pass() error {
	w.passed = true
	if w.status != 0 {
		w.signedWriter.WriteHeader(w.status)
	}
	if w.body.Len() == 0 {
		return nil // some answers may have no body, not even an empty one
	}
	_, err := w.signedWriter.Write(w.body.Bytes())
	w.drop()
	return err
}

// drop gives back what the held body takes.
func (w *heldWriter) drop() {
	bodies.give(w.key, int64(w.body.Len()))
	w.body = bytes.Buffer{}
}

// finish signs and sends what is held. The answer to HEAD has no body to hash.
func (w *heldWriter) finish() error {
	if w.passed {
		return nil
	}
	var hash *hmacsig.HawkHash
	if !w.head {
		hash = w.proof.AnswerHash(w.Header().Get("Content-Type"))
		_, _ = hash.Write(w.body.Bytes())
	}
	w.sign(hash)
	w.wrote = true
	return w.pass()
}
