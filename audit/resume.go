package audit

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// ActionResume is the action of the entry that tells of a start: every call that
// was being served before it has an outcome in front of it.
const ActionResume = "trail.resume"

// resumption is the payload of such an entry.
type resumption struct {
	Action  string `json:"action"`
	Actor   string `json:"actor"`
	Unknown int    `json:"unknown_outcomes"`
}

// Resume gives each call that has no outcome one that says that it is unknown:
// the process that served it ended before it did. It is to be called once after
// a trail was opened, with its last entry by then, and looks back to the last
// time that it was called.
func Resume(ctx context.Context, t CallTrail, last uint64, now time.Time) (unknown int, err error) {
	if last == 0 {
		return 0, nil
	}
	ended := make(map[uint64]bool) // calls whose entries come yet: few, as outcomes follow soon
	var drafts []Draft
	var failed error
	write := func() {
		_, failed = t.AppendCalls(ctx, drafts...)
		unknown, drafts = unknown+len(drafts), nil
	}
	err = t.TrailBack(ctx, last+1, func(e *Entry) bool {
		var p struct {
			Action, Key, Org, Decision string
			Call                       uint64
		}
		_ = json.Unmarshal(e.Payload, &p)
		switch {
		case p.Action == ActionResume:
			return false
		case p.Action == ActionOutcome:
			ended[p.Call] = true
		case p.Action != ActionCall || p.Decision == Refused:
		case ended[e.Seq]:
			delete(ended, e.Seq)
		default:
			drafts = append(drafts, Outcome{Call: e.Seq, Key: p.Key, Org: p.Org, Unknown: true}.Draft(now))
		}
		if len(drafts) == MaxAppend {
			write()
		}
		return failed == nil
	})
	if failed == nil && len(drafts) > 0 {
		write()
	}
	if err = errors.Join(failed, err); err != nil {
		return unknown, err
	}
	_, err = t.AppendCalls(ctx, Draft{Time: now, Payload: marshal(resumption{ActionResume, Server, unknown})})
	return unknown, err
}
