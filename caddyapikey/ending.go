package caddyapikey

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// eventEnding tells that a credential is in use which will not be for long.
const eventEnding = "api_key_ending"

// defaultExpiryWarning is how long before its end a key's answers say so.
const defaultExpiryWarning = 7 * 24 * time.Hour

// ending is what callers are told of a credential that will end: by the header
// fields Deprecation (RFC 9745) and Sunset (RFC 8594).
type ending struct {
	since time.Time // when it was rotated, or when the warnings began
	at    time.Time
	why   string // rotation or expiry
}

// endingOf reports whether a credential is being rotated out, or close to its
// end.
func (a *App) endingOf(key keyring.Proven, now time.Time) (ending, bool) {
	at := key.EndsAt()
	if at.IsZero() {
		return ending{}, false
	}
	if since := key.RetiringSince(); !since.IsZero() {
		return ending{since, at, "rotation"}, true
	}
	warning := time.Duration(a.ExpiryWarning)
	if warning < 0 || at.Sub(now) > warning {
		return ending{}, false
	}
	return ending{at.Add(-warning), at, "expiry"}, true
}

func (e ending) set(header http.Header) {
	header.Set("Deprecation", "@"+strconv.FormatInt(e.since.Unix(), 10))
	header.Set("Sunset", e.at.UTC().Format(http.TimeFormat))
}

// warnOfEnd has the answer say when the credential ends, if that is soon.
func (h *Handler) warnOfEnd(r *http.Request, d *decision, a *account) {
	if d.key.IsZero() || d.key.EndsAt().IsZero() {
		return
	}
	now := time.Now()
	if e, soon := h.app.endingOf(d.key, now); soon {
		a.ending = e
		h.app.tellEnding(d.key, d.client(r), h.placeOf(r).site.name, e, now)
	}
}

// endingKind is what is told once an hour.
type endingKind struct {
	id         string
	credential uint32
	place      usage.Place
}

var endingEvents = pacer[endingKind]{pause: time.Hour, most: 8192}

// tellEnding tells event handlers who still uses a credential that will end.
func (a *App) tellEnding(key keyring.Proven, addr netip.Addr, site string, e ending, now time.Time) {
	if !a.announcer.wanted(eventEnding) {
		return
	}
	id := key.ID()
	suppressed, ok := endingEvents.admit(endingKind{id, key.Credential(), usage.PlaceOf(addr)}, now)
	if !ok {
		metrics.events.WithLabelValues(eventEnding, eventSuppressed).Inc()
		return
	}
	told := event{eventEnding, map[string]any{
		"id":         id,
		"name":       key.Name(),
		"org":        key.Org(),
		"owner":      key.Owner(),
		"credential": key.Credential(),
		"ends_at":    e.at.Format(time.RFC3339),
		"why":        e.why,
		"site":       site,
		"client":     textOf(addr),
		"suppressed": suppressed,
	}}
	if !a.announcer.offer(a.announcer.refusals, told) {
		a.announcer.drop(told)
	}
}
