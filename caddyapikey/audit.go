package caddyapikey

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// Bounds of waiting until a call is recorded.
const (
	auditWait   = 5 * time.Second // then it is refused
	observeWait = time.Second     // in mode observe, where it passes nevertheless

	// maxAuditing is how many calls wait at a time. A disk that stalls holds
	// these up and no more; others are refused at once.
	maxAuditing = 4096
)

// auditedCall is a call that matches a rule with audit.
type auditedCall struct {
	use     *useRecord // nil without a record of use
	seq     uint64     // of its entry, 0 if it has none
	request uint64     // its id
	began   time.Time
	done    bool // the handlers behind returned
	err     error
}

// auditing limits how many calls wait for the trail of one record of use.
type auditing struct{ n atomic.Int64 }

func (a *auditing) enter() bool {
	if a.n.Add(1) > maxAuditing {
		a.n.Add(-1)
		return false
	}
	return true
}

func (a *auditing) leave() { a.n.Add(-1) }

var (
	errManyAuditing = errors.New("too many calls are waiting to be recorded")
	errNoTrail      = errors.New("the store keeps no trail of calls")
)

// provisionAudit notes which rules ask for it, and what kinds of data they and
// the others give access to.
func (h *Handler) provisionAudit() {
	for i, rule := range h.Rules {
		if rule.Audit {
			h.audited.add(i)
			h.app.audits.Store(true)
		}
	}
}

// mustAudit reports whether the call is to be on the disk before it is served.
// Whoever proved no key leaves nothing in the trail, in mode observe neither.
func (h *Handler) mustAudit(d *decision) bool {
	return h.audited.meets(&d.rules) && !d.key.IsZero() && !d.public && (d.why == nil || h.Mode == modeObserve)
}

// audit returns when the call is recorded. One that could not be is refused, and
// so is one whose caller left meanwhile.
func (h *Handler) audit(r *http.Request, d *decision) {
	c := &auditedCall{use: h.app.use.Load(), began: time.Now()}
	d.audit = c
	wait := auditWait
	if h.Mode == modeObserve {
		wait = observeWait
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	err := h.appendCall(ctx, r, d, c)
	d.waited = true
	why := auditDown
	switch {
	case r.Context().Err() != nil:
		auditMetrics.gone.Inc()
		why = clientGone
	case err == nil:
		auditMetrics.recorded.Inc()
		auditMetrics.wait.Observe(time.Since(c.began).Seconds())
		return
	default:
		auditMetrics.unavailable.Inc()
		h.app.tellAuditDown(c.use, h.placeOf(r).site.name, err)
	}
	if d.why == nil {
		d.why = why
	}
}

// appendCall records a call that will be served.
func (h *Handler) appendCall(ctx context.Context, r *http.Request, d *decision, c *auditedCall) error {
	if c.use == nil {
		return errNoUseRecord
	}
	c.request = c.use.NextRequestID()
	if c.use.trail == nil {
		return errNoTrail
	}
	if !c.use.auditing.enter() {
		return errManyAuditing
	}
	defer c.use.auditing.leave()
	entry := h.callEntry(r, d, c)
	if d.why != nil {
		entry.Decision = audit.Observed
	}
	seq, err := c.use.trail.AppendCalls(ctx, entry.Draft(c.began, h.callDetails(r, d, c)))
	c.use.auditErr.note(err)
	c.seq = seq
	return err
}

// callEntry is what the trail keeps of a call.
func (h *Handler) callEntry(r *http.Request, d *decision, c *auditedCall) audit.Call {
	entry := audit.Call{
		Key:        d.key.ID(),
		Org:        d.key.Org(),
		Credential: d.key.Credential(),
		Site:       h.placeOf(r).site.name,
		Rules:      h.ruleNames(&d.rules),
		Method:     r.Method,
		Decision:   audit.Allowed,
		RequestID:  usage.FormatRequestID(c.request),
		Data:       h.dataOf(&d.rules),
	}
	if d.why != nil {
		entry.Decision, entry.Reason = audit.Refused, d.why.reason
	}
	return entry
}

// callDetails is what the trail keeps of a caller until it is erased.
func (h *Handler) callDetails(r *http.Request, d *decision, c *auditedCall) audit.CallDetails {
	return audit.CallDetails{
		Address:   textOf(d.client(r)),
		Path:      c.use.PathText(originalURI(r)),
		UserAgent: c.use.UserAgentText(firstLine(r.Header["User-Agent"])),
	}
}

// dataOf returns the categories of data that rules give access to.
func (h *Handler) dataOf(set *ruleSet) []string {
	var list []string
	for i, rule := range h.Rules {
		if set.has(i) && rule.Data != "" && !slices.Contains(list, rule.Data) {
			list = append(list, rule.Data)
		}
	}
	return list
}

// closeAudit tells the trail how a call ended; of one that was refused, that it
// was. Nobody waits for it.
func (h *Handler) closeAudit(r *http.Request, d *decision, a *account, enforced bool) {
	if !h.audited.meets(&d.rules) || d.key.IsZero() || d.public {
		return
	}
	c := d.audit
	switch {
	case c == nil || c.seq == 0:
		h.auditRefusal(r, d, a, enforced)
		return
	case c.use.trail.Outcome(audit.Outcome{
		Call:       c.seq,
		Key:        d.key.ID(),
		Org:        d.key.Org(),
		Status:     a.call.Status,
		Bytes:      a.call.Bytes,
		DurationMS: float64(time.Since(c.began).Microseconds()) / 1000,
		Aborted:    !c.done || r.Context().Err() != nil || c.err != nil && a.answered(),
	}.Draft(time.Now())):
		return
	}
	auditMetrics.lost.Inc()
}
