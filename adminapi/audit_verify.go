package adminapi

import (
	"context"
	"encoding/hex"
	"net/http"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// trailView is what verifying a trail found.
type trailView struct {
	OK     bool             `json:"ok"`
	First  uint64           `json:"first"`
	Last   uint64           `json:"last"`
	Count  uint64           `json:"count"`
	Erased uint64           `json:"erased"`
	Head   string           `json:"head"` // the hash of the last entry
	Faults []trailFaultView `json:"faults"`
	More   bool             `json:"more_faults,omitzero"`
	Reason string           `json:"unavailable,omitempty"` // why it could not be verified
}

type trailFaultView struct {
	Seq  uint64 `json:"seq"`
	What string `json:"what"`
}

// verifyAudit answers GET audit/verify: whether each trail is as it was written.
func (c *call) verifyAudit() error {
	management, err := verifyTrail(c.r.Context(), c.keys.VerifyTrail)
	if err != nil {
		return err
	}
	var calls trailView
	if record, err := c.useRecord(); err != nil {
		calls = trailView{Faults: []trailFaultView{}, Reason: err.Error()}
	} else if calls, err = verifyTrail(c.r.Context(), record.VerifyTrail); err != nil {
		return err
	}
	c.write(http.StatusOK, "application/json", struct {
		OK         bool      `json:"ok"`
		Management trailView `json:"management"`
		Calls      trailView `json:"calls"`
	}{management.OK && calls.OK, management, calls})
	return nil
}

func verifyTrail(ctx context.Context, verify func(context.Context) (*audit.Report, error)) (v trailView, err error) {
	r, err := verify(ctx)
	if err != nil {
		return v, err
	}
	v = trailView{
		OK: len(r.Faults) == 0, First: r.First, Last: r.Last, Count: r.Last + 1 - r.First, Erased: r.Erased,
		Head: hex.EncodeToString(r.Hash[:]), Faults: []trailFaultView{}, More: r.More,
	}
	for _, f := range r.Faults {
		v.Faults = append(v.Faults, trailFaultView{f.Seq, f.What})
	}
	return v, nil
}
