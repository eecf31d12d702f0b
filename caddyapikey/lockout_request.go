package caddyapikey

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/lockout"
)

// ServeHTTP refuses a locked address, and counts what becomes of the request
// otherwise. It does not look at the response, so that it does not stand in the
// way of one that streams or is upgraded.
func (h *Lockout) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	guard, err := h.state.guard()
	if err != nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	addr, known := clientAddr(r)
	if known {
		if left := guard.Remaining(addr); left > 0 && !h.state.exempts(addr) {
			return h.refuse(w, r, addr, left)
		}
	}
	if !h.enter(r) {
		return next.ServeHTTP(w, r) // counted by one of the same name in front
	}
	if h.state.counted(lockout.Request) {
		h.count(r, lockout.Request)
		// Also if it was another request that locked the address meanwhile: of those
		// that come at once no more than the limit are let pass.
		if left := guard.Remaining(addr); left > 0 && known && !h.state.exempts(addr) {
			return h.refuse(w, r, addr, left)
		}
	}
	err = next.ServeHTTP(w, r)
	if err != nil {
		h.countError(r, err)
	}
	return err
}

// refuse answers a request from a locked address.
func (h *Lockout) refuse(w http.ResponseWriter, r *http.Request, addr netip.Addr, left time.Duration) error {
	h.state.counts.refused.Inc()
	if entry := h.logger.Check(zap.DebugLevel, "refused"); entry != nil {
		entry.Write(zap.String("reason", lockedOut.reason), zap.String("client", textOf(addr)),
			zap.String("lockout", h.Name), zap.Duration("remaining", left))
	}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Add(zap.String("api_key_reason", lockedOut.reason))
	}
	w.Header().Set("Retry-After", strconv.FormatInt(int64((left+time.Second-1)/time.Second), 10))
	unread := refuseHeader(w, r)
	body, err := (&decision{why: lockedOut}).problem()
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	return writeProblem(w, r, lockedOut.status, body, unread)
}

// The variables of a request that tell handlers of each other. No configuration
// can name them.
const (
	lockoutsVar = "\x00lockouts"        // the lockout handlers that the request is in
	refusalVar  = "\x00api_key.refused" // why the api_key handler refused it
	doubtVar    = "\x00api_key.doubt"   // why the authentication provider would
)

// enter makes the handler known to those behind it, unless one of the same name
// is already.
func (h *Lockout) enter(r *http.Request) bool {
	inside, _ := caddyhttp.GetVar(r.Context(), lockoutsVar).([]*Lockout)
	if inside == nil {
		caddyhttp.SetVar(r.Context(), lockoutsVar, h.self)
		return true
	}
	if slices.ContainsFunc(inside, func(other *Lockout) bool { return other.Name == h.Name }) {
		return false
	}
	caddyhttp.SetVar(r.Context(), lockoutsVar, append(slices.Clip(inside), h))
	return true
}

// countRefusal tells the lockout handlers that the request is in that the
// api_key handler refuses it. It is counted before it is answered: the answer
// may wait for a client that stalls, who could ask many times meanwhile.
func countRefusal(r *http.Request, why *refusal) {
	inside, _ := caddyhttp.GetVar(r.Context(), lockoutsVar).([]*Lockout)
	if inside == nil {
		return
	}
	caddyhttp.SetVar(r.Context(), refusalVar, why)
	if why.denies() {
		return // for ever, so that there is nothing to lock
	}
	for _, h := range inside {
		h.count(r, lockout.Outcome(why.status))
		if why.refusesCredential() {
			h.count(r, lockout.Refused)
		}
	}
}

// doubtCredential notes that the authentication provider refuses a credential.
// Another provider may accept the request.
func doubtCredential(r *http.Request, why *refusal) {
	if why.refusesCredential() {
		caddyhttp.SetVar(r.Context(), doubtVar, why)
	}
}

// refusesCredential reports whether a key or signature was sent and refused.
// Without one there was nothing to refuse.
func (why *refusal) refusesCredential() bool {
	return why.status == http.StatusUnauthorized && why != missingKey
}

// countError counts the error of a handler.
func (h *Lockout) countError(r *http.Request, err error) {
	status := http.StatusInternalServerError
	var handlerErr caddyhttp.HandlerError
	if errors.As(err, &handlerErr) && handlerErr.StatusCode != 0 {
		status = handlerErr.StatusCode
	}
	if why, ok := caddyhttp.GetVar(r.Context(), refusalVar).(*refusal); ok && why.status == status {
		return // by api_key with `errors caddy`, which was counted
	}
	h.count(r, lockout.Outcome(status))
	if _, doubted := caddyhttp.GetVar(r.Context(), doubtVar).(*refusal); doubted && status == http.StatusUnauthorized {
		h.count(r, lockout.Refused)
	}
}

// count counts one outcome, and locks the address if it was one too many.
func (h *Lockout) count(r *http.Request, outcome lockout.Outcome) {
	if !h.state.counted(outcome) {
		return
	}
	addr, known := clientAddr(r)
	if !known {
		h.state.counts.unknown.Inc()
		return
	}
	if h.state.exempts(addr) {
		return
	}
	guard, err := h.state.guard()
	if err != nil {
		return
	}
	h.state.warnOfProxy(r, addr)
	h.state.counts.outcomes[outcome].Inc()
	if begun, locked := guard.Count(addr, outcome); locked {
		h.state.began(begun, addr)
	}
}
