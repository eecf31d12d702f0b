package keyring

import (
	"fmt"

	"github.com/caddy-apikey/caddy-apikey/limit"
)

// ParseLimits reads limits such as 100/1s and 50000/day. field names them in
// errors.
func ParseLimits(field string, texts []string) ([]limit.Limit, error) {
	limits, at, err := limit.ParseAll(texts)
	return limits, limitError(field, at, err)
}

// checkLimits brings limits into their one order.
func checkLimits(limits *[]limit.Limit) error {
	sorted, at, err := limit.Normalize(*limits)
	if err != nil {
		return limitError("limits", at, err)
	}
	*limits = sorted
	return nil
}

func limitError(field string, at int, err error) error {
	switch {
	case err == nil:
		return nil
	case at < 0:
		return invalid(field, "%v", err)
	}
	return invalid(fmt.Sprintf("%s[%d]", field, at), "%v", err)
}

// limitTexts is nil for none.
func limitTexts(limits []limit.Limit) []string {
	if len(limits) == 0 {
		return nil
	}
	return limit.Texts(limits)
}

// Limits returns the key's own limits; they are shared, and not to be changed.
func (p Proven) Limits() []limit.Limit { return p.e.profile().limits }

// OrgLimits returns the limits that the key shares with the others of its org,
// and the org's tier.
func (p Proven) OrgLimits() (limits []limit.Limit, tier string) {
	if org := p.e.org(); org != nil {
		return org.org.Limits, org.tier
	}
	return nil, ""
}

// ValidateTierName checks the name of a tier that a configuration defines.
func ValidateTierName(name string) error { return checkLabel("tier", name, false) }
