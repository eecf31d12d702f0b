package caddyapikey

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// spend takes what a request costs from the limits of the key that it proved, and
// of the key's org: from all of them, or from none. It comes last but for audit, so
// that what is refused for another reason costs nothing.
func (h *Handler) spend(r *http.Request, d *decision) *refusal {
	if d.key.IsZero() {
		return nil
	}
	request := limit.Request{Cost: d.cost}
	h.app.limit(&request, d.key)
	if request.Key.Empty() && request.Org.Empty() {
		return nil
	}
	table := h.app.limits.Load()
	if table == nil {
		return notReady
	}
	var key, org [limit.MaxName]byte
	request.Key.Name, request.Org.Name = d.key.AppendID(key[:0]), append(org[:0], d.key.Org()...)
	states, err := table.Take(r.Context(), &request, make([]limit.State, 0, 4))
	d.waited = d.waited || request.Waited
	switch {
	case err == nil:
		d.limits = states
		return nil
	case errors.Is(err, limit.ErrExceeded):
		d.limits = states
		h.tellLimits(r, d)
		return overLimit
	}
	return quotasDown
}

// afterWaiting decides again about a request that waited for the disk. If it was
// recorded, its outcome tells that it was refused after all.
func (h *Handler) afterWaiting(r *http.Request, d *decision) *refusal {
	kr := h.app.Keyring()
	if kr == nil {
		return notReady
	}
	why := h.renew(kr, r, d)
	if why != nil {
		d.returned(nil)
	}
	return why
}

// giveBack takes back what spend took, of a request that is not served after all.
func (h *Handler) giveBack(d *decision) {
	if table := h.app.limits.Load(); table != nil && d.why != overLimit {
		table.GiveBack(d.limits, d.cost)
		d.limits = nil // they stand otherwise now
	}
}

// limit sets the limits that hold for a key.
func (a *App) limit(r *limit.Request, key keyring.Proven) {
	var orgTier string
	r.Key.Own = key.Limits()
	r.Org.Own, orgTier = key.OrgLimits()
	if len(a.tiers) > 0 {
		r.Key.Tier = a.tiers[key.Tier()].key
		if orgTier != "" {
			r.Org.Tier = a.tiers[orgTier].org
		}
	}
}

// retryAfter returns after how many seconds there may be room for a request that
// had none, at least 1, and 0 for any other one.
func (d *decision) retryAfter() int64 {
	var wait time.Duration
	if d.why == overLimit {
		for i := range d.limits {
			wait = max(wait, d.limits[i].Wait)
		}
	}
	return seconds(wait)
}

// violated returns the names of the limits that had no room.
func (d *decision) violated() []string {
	var names []string
	for i := range d.limits {
		if s := &d.limits[i]; s.Exceeded {
			names = append(names, string(appendLimitName(nil, s)))
		}
	}
	return names
}

// appendLimitName appends what callers are told that a limit is called.
func appendLimitName(dst []byte, s *limit.State) []byte {
	if s.Org {
		dst = append(dst, "org-"...)
	}
	return s.Span.Append(dst)
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// showLimits tells how the limits stand, by the fields of
// draft-ietf-httpapi-ratelimit-headers. What an upstream says of limits of its
// own comes beside it: the fields are lists, and may have many lines. A refusal
// tells of the limits without room only, so that none of them names a time after
// that of Retry-After.
func showLimits(header http.Header, d *decision) {
	if len(d.limits) == 0 {
		return
	}
	var room [256]byte
	policy, standing := room[:0:128], room[128:128]
	for i := range d.limits {
		s := &d.limits[i]
		policy = appendLimitItem(policy, s)
		policy = strconv.AppendUint(append(policy, ";q="...), s.Amount, 10)
		switch { // months differ in length
		case s.Span == limit.Day:
			policy = append(policy, ";w=86400"...)
		case s.Span > 0:
			policy = strconv.AppendInt(append(policy, ";w="...), int64(s.Span), 10)
		}
		if d.why == overLimit && !s.Exceeded {
			continue
		}
		standing = appendLimitItem(standing, s)
		standing = strconv.AppendUint(append(standing, ";r="...), s.Left, 10)
		if s.More > 0 {
			standing = strconv.AppendInt(append(standing, ";t="...), seconds(s.More), 10)
		}
	}
	header["Ratelimit-Policy"] = append(header["Ratelimit-Policy"], string(policy))
	header["Ratelimit"] = append(header["Ratelimit"], string(standing))
}

// appendLimitItem begins an item of a list.
func appendLimitItem(dst []byte, s *limit.State) []byte {
	if len(dst) > 0 {
		dst = append(dst, ", "...)
	}
	return append(appendLimitName(append(dst, '"'), s), '"')
}

// eventLimit tells that a limit was reached.
const eventLimit = "api_key_limit_reached"

// limitKind is what is told once an hour: a limit of a key, or of an org.
type limitKind struct {
	carrier string
	org     bool
	span    limit.Span
}

var limitEvents = pacer[limitKind]{pause: time.Hour, most: 8192}

// tellLimits tells event handlers of the limits that had no room.
func (h *Handler) tellLimits(r *http.Request, d *decision) {
	n := h.app.announcer
	if !n.wanted(eventLimit) {
		return
	}
	now := time.Now()
	for i := range d.limits {
		s := &d.limits[i]
		if !s.Exceeded {
			continue
		}
		kind := limitKind{d.key.ID(), s.Org, s.Span}
		if s.Org {
			kind.carrier = d.key.Org()
		}
		suppressed, ok := limitEvents.admit(kind, now)
		if !ok {
			eventCounts.WithLabelValues(eventLimit, eventSuppressed).Inc()
			continue
		}
		told := event{eventLimit, map[string]any{
			"id":          d.key.ID(),
			"name":        d.key.Name(),
			"org":         d.key.Org(),
			"owner":       d.key.Owner(),
			"tier":        d.key.Tier(),
			"limit":       s.Limit.String(),
			"shared":      s.Org,
			"retry_after": seconds(s.Wait),
			"mode":        h.Mode,
			"site":        h.placeOf(r).site.name,
			"client":      textOf(d.client(r)),
			"suppressed":  suppressed,
		}}
		if !n.offer(n.refusals, told) {
			n.drop(told)
		}
	}
}
