package caddyapikey

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// However many tiers are missing, few are named: those of most keys.
func TestTellTiers(t *testing.T) {
	use := map[string]keyring.TierUse{"gold": {Keys: 12, Orgs: 1}, "big": {Orgs: 2}}
	if got := tellTiers(use); got != "gold (keys: 12, orgs: 1), big (keys: 0, orgs: 2)" {
		t.Error(got)
	}
	for i := range 1000 {
		use[fmt.Sprintf("%s%d", strings.Repeat("x", 60), 1000+i)] = keyring.TierUse{Keys: 1}
	}
	if got := tellTiers(use); !strings.HasPrefix(got, "gold (keys: 12, orgs: 1), big (keys: 0, orgs: 2), xxx") ||
		!strings.HasSuffix(got, "x1005 (keys: 1, orgs: 0), and 994 more tiers") || len(got) > 1000 {
		t.Error(got)
	}
}
