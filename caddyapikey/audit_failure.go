package caddyapikey

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// eventAuditDown tells that calls which must be recorded cannot be.
const eventAuditDown = "api_key_audit_unavailable"

// faultAudit is a reason of Fault: such calls are refused.
const faultAudit = "audit_unavailable"

// auditDownEvents lets it be told once a minute, over all sites.
var auditDownEvents = pacer[struct{}]{pause: time.Minute, most: 1}

// tellAuditDown tells operators, by log and event, why a call was not recorded.
func (a *App) tellAuditDown(use *useRecord, site string, err error) {
	if use != nil {
		use.auditErr.note(err)
	}
	suppressed, ok := auditDownEvents.admit(struct{}{}, time.Now())
	if !ok {
		eventCounts.WithLabelValues(eventAuditDown, eventSuppressed).Inc()
		return
	}
	a.logger.Error("a call must be recorded before it is served, and could not be: rules with audit refuse requests",
		zap.String("site", site), zap.Uint64("suppressed", suppressed), zap.Error(err))
	a.Emit(eventAuditDown, map[string]any{"site": site, "why": err.Error(), "suppressed": suppressed})
}

// auditTrouble is the last attempt to record a call, if it failed.
type auditTrouble struct{ last atomic.Pointer[auditFailure] }

type auditFailure struct {
	at  time.Time
	err error
}

func (t *auditTrouble) note(err error) {
	switch {
	case err != nil:
		t.last.Store(&auditFailure{time.Now(), err})
	case t.last.Load() != nil:
		t.last.Store(nil)
	}
}

// recently is how long a failure counts if no other call shows that it is over.
const recently = time.Minute

// auditFault is what is wrong with the trail of calls, nil if nothing is or no
// rule asks for it.
func (a *App) auditFault() error {
	if !a.audits.Load() {
		return nil
	}
	u := a.use.Load()
	switch {
	case u == nil:
		return errNoUseRecord
	case u.trail == nil:
		return errNoTrail
	}
	if ledger, ok := u.store.(interface{ Health() error }); ok {
		if err := ledger.Health(); err != nil {
			return err
		}
	}
	if f := u.auditErr.last.Load(); f != nil && time.Since(f.at) < recently {
		return f.err
	}
	return nil
}

// auditFaults is auditFault as health tells it.
func (a *App) auditFaults() []keyring.Fault {
	err := a.auditFault()
	if err == nil {
		return nil
	}
	return []keyring.Fault{{Reason: faultAudit, Detail: fmt.Sprintf("calls that must be recorded before they are served cannot be: %v. Rules with audit refuse every request until they can", err)}}
}
