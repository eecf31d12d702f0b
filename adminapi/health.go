package adminapi

import (
	"errors"
	"net/http"
	"slices"
)

// healthView is the answer of GET health.
type healthView struct {
	Status  string      `json:"status"` // ok or degraded
	Reasons []faultView `json:"reasons"`
	Notes   []faultView `json:"notes"` // worth knowing, and no fault
}

type faultView struct {
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// health answers GET health: 200, or 503 with what is wrong. Decisions about
// requests come from memory, so that most faults leave the API in service; what
// suffers first is changing keys.
func (c *call) health() error {
	v := healthView{Status: "ok", Reasons: []faultView{}, Notes: []faultView{}}
	err := c.findApp()
	var p *problem
	switch {
	case errors.As(err, &p) && p.kind == notRunning:
		v.Reasons = append(v.Reasons, faultView{"not_running", p.detail})
	case err != nil:
		return err
	default:
		for _, fault := range slices.Concat(c.keys.Health(), c.app.Faults()) {
			if fault.Note {
				v.Notes = append(v.Notes, faultView{fault.Reason, fault.Detail})
				continue
			}
			v.Reasons = append(v.Reasons, faultView{fault.Reason, fault.Detail})
		}
		if c.app.KeysInQuery() {
			v.Notes = append(v.Notes, faultView{"keys_in_query", "A site reads keys from the query, so that they end up in logs, histories and Referer headers. A header is safer."})
		}
	}
	status := http.StatusOK
	if len(v.Reasons) > 0 {
		v.Status, status = "degraded", http.StatusServiceUnavailable
	}
	c.write(status, "application/json", v)
	return nil
}
