package adminapi

import (
	"net/url"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// useFilter selects keys by their use; its zero value selects all.
type useFilter struct {
	never    bool
	since    time.Time // not let in since
	rotation string
}

func useFilterOf(query url.Values, now time.Time) (f useFilter, err error) {
	switch query.Get("used") {
	case "":
	case "never":
		f.never = true
	default:
		return f, refusal(invalidQuery, "used is never, or left out.")
	}
	if text := query.Get("unused_since"); text != "" {
		if f.since, err = sinceTime(text, now); err != nil {
			return f, refusal(invalidQuery, "unused_since: %v.", err)
		}
	}
	f.rotation = query.Get("rotation")
	switch f.rotation {
	case "", "pending", "on_old":
		return f, nil
	}
	return f, refusal(invalidQuery, "rotation is pending or on_old.")
}

// selects reports whether a key is among those that are asked for.
func (f *useFilter) selects(key *keyring.Key, uses []usage.LastUse, now time.Time) bool {
	var latest usage.LastUse
	for _, u := range uses {
		if u.Requests > 0 && u.Last.After(latest.Last) {
			latest = u
		}
	}
	switch {
	case f.never && !latest.Last.IsZero():
		return false
	case !f.since.IsZero() && !latest.Last.Before(f.since):
		return false
	case f.rotation != "" && !key.RotationPending(now):
		return false
	}
	return f.rotation != "on_old" || latest.Credential != key.Rotation.New
}

// keysByUse returns a page of keys that both filters select, and their use.
func (c *call) keysByUse(f keyring.Filter, byUse useFilter, after string, limit int) (keys []*keyring.Key, uses [][]usage.LastUse, next string, err error) {
	if byUse == (useFilter{}) {
		keys, next, err = c.keys.Keys(c.r.Context(), f, after, limit)
		return keys, c.lastUses(keys...), next, err
	}
	store, err := c.useRecord()
	if err != nil {
		return nil, nil, "", err
	}
	now := c.keys.Now()
	for {
		some, more, err := c.keys.Keys(c.r.Context(), f, after, maxLimit)
		if err != nil {
			return nil, nil, "", err
		}
		ids := make([]string, len(some))
		for i, key := range some {
			ids[i] = key.ID
		}
		theirs, err := store.LastUses(c.r.Context(), ids)
		if err != nil {
			return nil, nil, "", err
		}
		for i, key := range some {
			if !byUse.selects(key, theirs[i], now) {
				continue
			}
			if len(keys) == limit {
				return keys, uses, keys[limit-1].ID, nil
			}
			keys, uses = append(keys, key), append(uses, theirs[i])
		}
		if more == "" {
			return keys, uses, "", nil
		}
		after = more
	}
}
