package caddyapikey

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// problemBase is what the type URI of every problem begins with; it leads to
// the page that explains them.
const problemBase = "https://github.com/caddy-apikey/caddy-apikey/blob/main/docs/problems.md#"

// problem is an answer by RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Check  string `json:"check,omitempty"`          // the strict check that failed
	Scope  string `json:"required_scope,omitempty"` // the scope that is missing

	Violated []string `json:"violated-policies,omitempty"` // the limits without room
}

// allowedMethods is the Allow header of a 405.
const allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// retryAfter is what 503 answers tell the client to wait, in seconds.
const retryAfter = 2

// refuse answers a request that is not let in: the one place where a refusal
// becomes a status, headers and a body.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, d *decision) error {
	countRefusal(r, d.why)
	header := w.Header()
	if d.why.status == http.StatusUnauthorized || d.why == missingScope || d.why == severalKeys {
		header["Www-Authenticate"] = append(header["Www-Authenticate"], h.challenges(d)...)
		if d.why.status == http.StatusUnauthorized && h.Signature.accepts(schemeMessage) {
			header.Set("Accept-Signature", h.Signature.wanted(r.ContentLength != 0))
		}
	}
	switch d.why.status {
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", strconv.Itoa(h.retryAfter(d.why)))
	case http.StatusTooManyRequests:
		wait := d.retryAfter()
		if d.why != overLimit {
			wait = int64(h.retryAfter(d.why))
		}
		header.Set("Retry-After", strconv.FormatInt(wait, 10))
	case http.StatusMethodNotAllowed:
		header.Set("Allow", allowedMethods)
	}
	unread := refuseHeader(w, r)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set("http.api_key.reason", d.why.reason)
		repl.Set("http.api_key.required_scope", d.scope)
	}
	if h.Errors == errorsCaddy {
		h.withhold(r) // an error route may proxy
		h.cleanReferer(r)
		if d.claim != nil && !h.KeepCredential {
			d.claim.strip(r)
		}
		return caddyhttp.HandlerError{StatusCode: d.why.status, Err: errors.New(d.why.reason)}
	}
	d.bare = d.why == missingKey && h.lacksScheme(r.Header)
	body, err := d.problem()
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	return writeProblem(w, r, d.why.status, body, unread)
}

// refuseHeader sets what every refusal has, of locked addresses, too. unread
// says that the request has a body that nobody wants: an HTTP/1 server would
// hold the answer back until it has read that, for as long as the client cares
// to stall.
func refuseHeader(w http.ResponseWriter, r *http.Request) (unread bool) {
	w.Header().Set("Cache-Control", "no-store")
	if unread = r.ProtoMajor == 1 && r.ContentLength != 0; unread {
		w.Header().Set("Connection", "close")
	}
	return unread
}

// writeProblem answers a request that refuseHeader was called for.
func writeProblem(w http.ResponseWriter, r *http.Request, status int, body []byte, unread bool) (err error) {
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, err = w.Write(body)
	}
	if unread {
		linger(w, r)
	}
	return err
}

// plainProblems has the bodies that depend on nothing but the refusal: what
// strangers cause costs no encoding.
var plainProblems sync.Map // []byte by *refusal

// problem returns the body of the answer.
func (d *decision) problem() ([]byte, error) {
	why := d.why
	if d.bare {
		why = missingScheme
	}
	plain := d.failed == nil && d.scope == "" && d.lacks == nil && why != overLimit
	if plain {
		if body, ok := plainProblems.Load(why); ok {
			return body.([]byte), nil
		}
	}
	p := problem{
		Type:   problemBase + why.reason,
		Title:  why.title,
		Status: why.status,
		Detail: why.detail,
		Scope:  d.scope,
	}
	if d.why == overLimit {
		p.Violated = d.violated()
	}
	if d.failed != nil {
		p.Check, p.Detail = d.failed.name, d.failed.detail
	}
	if d.lacks != nil {
		p.Detail += " It lacks " + strings.Join(d.lacks, ", ") + "."
	}
	body, err := json.Marshal(p)
	if err == nil && plain {
		plainProblems.Store(why, body)
	}
	return body, err
}

// retryAfter is how long a client should wait, in seconds: what has to do with
// nonces is over when their time is.
func (h *Handler) retryAfter(why *refusal) int {
	if why == nonceQuota || why == nonceUnknown {
		return int(time.Duration(h.Signature.Skew) / time.Second)
	}
	return retryAfter
}
