package audit

import "time"

// Actions of the entries in the trail of calls, beside ActionPurge.
const (
	ActionCall    = "call"
	ActionOutcome = "call.outcome"

	ActionSuppressed = "call.suppressed"
)

// What was decided about a call.
const (
	Allowed  = "allowed"
	Refused  = "refused"
	Observed = "observed" // it would have been refused, and was served
)

// Call is the payload of an entry about a call. One that was allowed or observed
// is on the disk before the call is served, and an Outcome follows it: when the
// call has ended, or at the next start. One that was refused has none.
type Call struct {
	Action     string   `json:"action"`
	Key        string   `json:"key"`
	Org        string   `json:"org,omitempty"`
	Credential uint32   `json:"credential"`
	Site       string   `json:"site"`
	Rules      []string `json:"rules"` // all that matched
	Method     string   `json:"method"`
	Decision   string   `json:"decision"`
	Reason     string   `json:"reason,omitempty"` // why it was, or would have been, refused
	RequestID  string   `json:"request_id"`
	Data       []string `json:"data,omitempty"`       // categories of the rules
	Suppressed uint64   `json:"suppressed,omitempty"` // refusals of the kind that have no entry, since the last that has one
}

// CallDetails are the details of an entry about a call: they can be erased.
type CallDetails struct {
	Address   string `json:"address"`
	Path      string `json:"path"`
	UserAgent string `json:"user_agent,omitempty"`
}

// Draft returns the entry of a call.
func (c Call) Draft(at time.Time, details CallDetails) Draft {
	c.Action = ActionCall
	return Draft{Time: at, Payload: marshal(c), Details: marshal(details)}
}

// Outcome is the payload of an entry about how a call ended.
type Outcome struct {
	Action     string  `json:"action"`
	Call       uint64  `json:"call"` // the number of its entry
	Key        string  `json:"key"`
	Org        string  `json:"org,omitempty"`
	Status     int     `json:"status"` // 0: nothing was answered
	Bytes      uint64  `json:"bytes"`
	DurationMS float64 `json:"duration_ms"`
	Aborted    bool    `json:"aborted,omitempty"` // it broke off: the client left, or a handler failed
	Unknown    bool    `json:"unknown,omitempty"` // the process ended before the call did, so that the rest is not known
}

// Draft returns the entry of an outcome.
func (o Outcome) Draft(at time.Time) Draft {
	o.Action = ActionOutcome
	return Draft{Time: at, Payload: marshal(o)}
}

// Suppression is the payload of an entry about refused calls that have no entry,
// and that no later entry of their kind tells of: too many kinds came at once.
type Suppression struct {
	Action     string `json:"action"`
	Actor      string `json:"actor"`
	Suppressed uint64 `json:"suppressed"`
}

// Draft returns the entry of a suppression.
func (s Suppression) Draft(at time.Time) Draft {
	s.Action, s.Actor = ActionSuppressed, Server
	return Draft{Time: at, Payload: marshal(s)}
}
