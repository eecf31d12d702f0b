package adminapi

import (
	"errors"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// maxHistory bounds the entries in a report; the latest are shown.
const maxHistory = 1000

// historyView is what a report says of management: who created, changed, rotated
// and revoked what it is about, and whether the trail that says so is whole.
type historyView struct {
	Management     []entryView `json:"management"`
	MoreManagement int         `json:"more_management,omitzero"`
	Trail          struct {
		OK     bool `json:"ok"`
		Faults int  `json:"faults"` // at most 100 are counted
	} `json:"trail"`
}

func (c *call) history(about subject, s usage.Span) (v historyView, err error) {
	search := audit.Search{Key: about.key, Org: about.org, Since: s.Since, Until: s.Until}
	if about.place != nil {
		// The address of a place: managers are not counted by /64.
		search.Address = about.address
	}
	v.Management = []entryView{}
	_, err = c.keys.Trail().SearchTrail(c.r.Context(), search, func(e *audit.Entry) bool {
		if len(v.Management) == maxHistory {
			v.MoreManagement++
			return true
		}
		view := viewEntry(e)
		delete(view, "keys") // the others of an import
		v.Management = append(v.Management, view)
		return true
	})
	if err != nil && !errors.Is(err, keyring.ErrDamaged) { // which verifying tells, too
		return v, err
	}
	verified, err := verifyTrail(c.r.Context(), c.keys.VerifyTrail)
	v.Trail.OK, v.Trail.Faults = verified.OK, len(verified.Faults)
	return v, err
}
