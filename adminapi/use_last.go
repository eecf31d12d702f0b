package adminapi

import (
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// lastUses returns the last use of each credential of some keys, nil without a
// record: a key can be shown without it.
func (c *call) lastUses(keys ...*keyring.Key) [][]usage.LastUse {
	store, err := c.useRecord()
	if err != nil {
		return make([][]usage.LastUse, len(keys))
	}
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = key.ID
	}
	uses, err := store.LastUses(c.r.Context(), ids)
	if err != nil || len(uses) != len(keys) {
		return make([][]usage.LastUse, len(keys))
	}
	return uses
}

// showUses fills in what is known of the use of a key's credentials.
func showUses(v []credentialView, uses []usage.LastUse) {
	for i := range v {
		for _, u := range uses {
			if u.Credential != v[i].N {
				continue
			}
			v[i].Requests, v[i].Refused = u.Requests+u.Refused, u.Refused
			if u.Requests > 0 {
				place := u.Place.String()
				v[i].LastUsedAt, v[i].LastUsedIP = viewLimit(u.Last), &place
			}
		}
	}
}
