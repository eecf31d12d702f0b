package adminapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// limitView is how one limit stands.
type limitView struct {
	Limit     string  `json:"limit"`
	From      string  `json:"from"` // key, org or tier
	Shared    bool    `json:"shared"`
	Amount    uint64  `json:"amount"`
	Used      uint64  `json:"used"`
	Remaining uint64  `json:"remaining"`
	MoreAt    *string `json:"more_at"` // when more remains again
}

// keyLimits answers GET keys/{id}/limits: what holds for the key, and what it
// shares with its org.
func (c *call) keyLimits() error {
	key, err := c.keys.Key(c.r.Context(), c.vars["id"])
	if err != nil {
		return err
	}
	org := new(keyring.Org)
	if key.Org != "" {
		if org, err = c.keys.Org(c.r.Context(), key.Org); err != nil {
			return err
		}
	}
	tier := key.Tier
	if tier == "" {
		tier = org.Tier
	}
	states, err := c.app.KeyLimits(key.ID, key.Limits, tier)
	if err == nil && key.Org != "" {
		var shared []limit.State
		shared, err = c.app.OrgLimits(org.Name, org.Limits, org.Tier)
		states = append(states, shared...)
	}
	return c.limits(tier, states, err)
}

// orgLimits answers GET orgs/{org}/limits.
func (c *call) orgLimits() error {
	org, err := c.keys.Org(c.r.Context(), c.vars["org"])
	if err != nil {
		return err
	}
	states, err := c.app.OrgLimits(org.Name, org.Limits, org.Tier)
	return c.limits(org.Tier, states, err)
}

func (c *call) limits(tier string, states []limit.State, err error) error {
	if errors.Is(err, limit.ErrUnavailable) {
		return refusal(useUnavailable, "What was spent of quotas cannot be read: %v.", err)
	}
	if err != nil {
		return err
	}
	now := time.Now()
	views := make([]limitView, len(states))
	for i := range states {
		views[i] = viewLimitState(&states[i], now)
	}
	c.write(http.StatusOK, "application/json", struct {
		Tier   string      `json:"tier"`
		Limits []limitView `json:"limits"`
	}{tier, views})
	return nil
}

func viewLimitState(s *limit.State, now time.Time) limitView {
	from := "key"
	switch {
	case s.Tier:
		from = "tier"
	case s.Org:
		from = "org"
	}
	v := limitView{Limit: s.Limit.String(), From: from, Shared: s.Org, Amount: s.Amount, Used: s.Used, Remaining: s.Left}
	if s.More > 0 {
		text := viewTime(now.Add(s.More))
		v.MoreAt = &text
	}
	return v
}

// checkTier refuses a tier that limits nothing because it is mistyped.
func checkTier(tier member[text], defined definitions) error {
	if name := string(tier.value); name != "" && !defined.HasTier(name) {
		return badField("tier", "the running configuration defines tiers, and none of this name; define it with `tier` in the api_keys options")
	}
	return nil
}

func setLimits(dst *[]limit.Limit, m member[[]text]) error {
	if !m.present {
		return nil
	}
	list, err := keyring.ParseLimits("limits", plain(m.value))
	if err != nil {
		return err
	}
	*dst = list
	return nil
}
