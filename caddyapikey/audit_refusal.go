package caddyapikey

import (
	"net/http"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// refusedCall is a kind of refusals that has one entry in the trail in a while.
type refusedCall struct {
	key string
	why *refusal
}

// newRefusedCalls bounds what callers who may not do something can write by
// trying. All of their tries are counted: in the next entry of their kind, or, if
// the kind found no room or was forgotten, in one for all of those.
func newRefusedCalls() *pacer[refusedCall] {
	return &pacer[refusedCall]{pause: time.Minute, most: 1024}
}

// auditRefusal records a call that was not served, or that was in mode observe
// though it could not be recorded before.
func (h *Handler) auditRefusal(r *http.Request, d *decision, a *account, enforced bool) {
	if a.use == nil || a.use.trail == nil || d.why == nil {
		return
	}
	now := time.Now()
	suppressed, ok := a.use.refused.admit(refusedCall{d.key.ID(), d.why}, now)
	if !ok {
		return
	}
	c := &auditedCall{use: a.use, request: a.call.RequestID, began: a.call.Began}
	entry := h.callEntry(r, d, c)
	entry.Suppressed = suppressed
	if !enforced {
		entry.Decision = audit.Observed
	}
	if !a.use.trail.Outcome(entry.Draft(now, h.callDetails(r, d, c))) {
		auditMetrics.lost.Inc()
	}
}

// tellSuppressed records how many refused calls no entry of their kind will tell
// of; of a record that ends, those that only a next entry would, too.
func (u *useRecord) tellSuppressed(ends bool) {
	if u.trail == nil {
		return
	}
	n := u.refused.takeUntold(ends)
	if n > 0 && !u.trail.Outcome(audit.Suppression{Suppressed: n}.Draft(time.Now())) {
		u.refused.giveBack(n) // the next minute tries again
		if ends {
			auditMetrics.lost.Inc()
		}
	}
}

// endTrail has everything in the trail that is to be, if no other configuration
// goes on with the record.
func (a *App) endTrail() {
	u := a.use.Load()
	if u == nil {
		return
	}
	if n, _ := useRecords.References(a.store.StoreKey()); n == 1 {
		u.tellSuppressed(true)
	}
}
