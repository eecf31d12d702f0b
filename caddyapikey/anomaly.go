package caddyapikey

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// eventAnomaly tells that a key is used far outside of the usual.
const (
	eventAnomaly   = "api_key_anomaly"
	eventSuspended = "api_key_suspended"
)

// Anomaly is when the use of a key is taken for unusual, as if somebody else had
// got hold of it. It is found in the record of use, a second or two after it
// happened. At least one of Addresses and Surge is set.
type Anomaly struct {
	// Too many addresses at once.
	Addresses *AnomalyAddresses `json:"addresses,omitempty"`

	// Far more requests than ever.
	Surge *AnomalySurge `json:"surge,omitempty"`

	// Suspend such a key, until somebody resumes it. Default: only tell.
	Suspend bool `json:"suspend,omitempty"`
}

// AnomalyAddresses is too many addresses at once.
type AnomalyAddresses struct {
	// More addresses than these (IPv6: /64s) are unusual, 1 to 1,000 …
	Limit int `json:"limit"`
	// … within this time, 1m to 24h.
	Window caddy.Duration `json:"window"`
}

// AnomalySurge is far more requests than ever.
type AnomalySurge struct {
	// More requests in an hour than so many times the busiest hour, 2 to 1,000 …
	Factor int `json:"factor"`
	// … of this time before, 1d to 7d, are unusual,
	Over caddy.Duration `json:"over"`
	// if they are more than these. Default: 1,000.
	Min uint64 `json:"min,omitempty"`
}

// Bounds of the thresholds. The record of use tells some more places of a key
// apart, and keeps hours for seven days.
const (
	maxAnomalyAddresses = 1000
	maxAnomalyFactor    = 1000
	maxAnomalyMin       = 1_000_000_000_000
	defaultAnomalyMin   = 1000
)

func (a *Anomaly) validate() error {
	if a.Addresses == nil && a.Surge == nil {
		return errors.New("anomaly: write what is unusual, such as `addresses 20 in 10m` or `surge 10x over 7d min 1000`")
	}
	if p := a.Addresses; p != nil {
		if p.Limit < 1 || p.Limit > maxAnomalyAddresses {
			return fmt.Errorf("anomaly addresses %d: the number is from 1 to %d", p.Limit, maxAnomalyAddresses)
		}
		if p.Window < caddy.Duration(time.Minute) || p.Window > caddy.Duration(24*time.Hour) {
			return fmt.Errorf("anomaly addresses: %s is not from 1m to 24h", time.Duration(p.Window))
		}
	}
	if s := a.Surge; s != nil {
		if s.Min == 0 {
			s.Min = defaultAnomalyMin
		}
		if s.Factor < 2 || s.Factor > maxAnomalyFactor {
			return fmt.Errorf("anomaly surge %dx: the factor is from 2 to %d", s.Factor, maxAnomalyFactor)
		}
		if s.Over < caddy.Duration(24*time.Hour) || s.Over > caddy.Duration(7*24*time.Hour) {
			return fmt.Errorf("anomaly surge: over %s is not from 1d to 7d", time.Duration(s.Over))
		}
		if s.Min > maxAnomalyMin {
			return fmt.Errorf("anomaly surge: min %d is more than %d", s.Min, uint64(maxAnomalyMin))
		}
	}
	return nil
}

// unusual is what the watch looks for; nothing without a configuration.
func (a *Anomaly) unusual() (u usage.Unusual) {
	if a == nil {
		return u
	}
	if a.Addresses != nil {
		u.Places, u.Within = a.Addresses.Limit, time.Duration(a.Addresses.Window)
	}
	if a.Surge != nil {
		u.Least = a.Surge.Min
	}
	return u
}

// Kinds and results, as a metric and the event have them.
const (
	anomalyAddresses = "addresses"
	anomalySurge     = "surge"

	anomalyTold      = "told"
	anomalySuspended = "suspended"
	anomalyFailed    = "failed" // it should have been suspended
)

var anomalyCounts = newAnomalyCounts()

func newAnomalyCounts() *prometheus.CounterVec {
	counts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_api_keys_anomalies_total",
		Help: "Keys that were used far outside of the usual, by what was unusual and what was done.",
	}, []string{"kind", "result"})
	for _, kind := range []string{anomalyAddresses, anomalySurge} {
		for _, result := range []string{anomalyTold, anomalySuspended, anomalyFailed} {
			counts.WithLabelValues(kind, result)
		}
	}
	return counts
}

// anomalyCheck is how often suspects are looked at.
const anomalyCheck = time.Second

// anomalies looks at the suspects, one after the other: also while a reload has
// two stewards no two keys are suspended at a time.
func (s *steward) anomalies(ctx context.Context) {
	u := s.app.use.Load()
	if u == nil {
		return
	}
	u.judging.Lock()
	defer u.judging.Unlock()
	suspects := u.watch.Take()
	for i := range suspects {
		if ctx.Err() != nil {
			u.watch.Return(suspects[i:])
			return
		}
		if err := s.judge(ctx, u, suspects[i]); err != nil && ctx.Err() == nil {
			s.app.logger.Error("unusual use of a key was not looked at", zap.String("key", suspects[i].Key), zap.Error(err))
		}
	}
}

// judge looks at one suspect.
func (s *steward) judge(ctx context.Context, u *useRecord, suspect usage.Suspect) error {
	kr := s.app.Keyring()
	if kr == nil {
		return nil
	}
	key, err := kr.Key(ctx, suspect.Key)
	if errors.Is(err, keyring.ErrNotFound) || err == nil && key.State != keyring.StateActive {
		return nil // ended meanwhile
	}
	if err != nil {
		return err
	}
	found := &anomaly{key: key, at: suspect.At}
	switch suspect.Kind {
	case usage.SuspectPlaces:
		limit := s.app.Anomaly.Addresses
		if limit == nil {
			return nil // of the configuration before
		}
		found.kind, found.count, found.limit = anomalyAddresses, uint64(suspect.Places), uint64(limit.Limit)
		found.detail = fmt.Sprintf("from more than %d addresses in %s", limit.Limit, time.Duration(limit.Window))
	case usage.SuspectRequests:
		var unusual bool
		if unusual, err = s.surged(ctx, u, suspect, found); err != nil || !unusual {
			return err
		}
	}
	s.act(ctx, u, kr, found)
	return nil
}

// anomaly is an unusual use of a key.
type anomaly struct {
	key    *keyring.Key
	kind   string
	at     time.Time
	count  uint64 // addresses, or requests in the hour
	limit  uint64 // up to which it would have been usual
	detail string
}

// surged compares an hour of a key with those before it. A key whose first use
// is less than a day ago has no usual one.
func (s *steward) surged(ctx context.Context, u *useRecord, suspect usage.Suspect, found *anomaly) (unusual bool, err error) {
	surge := s.app.Anomaly.Surge
	if surge == nil {
		return false, nil // of the configuration before
	}
	hour := suspect.At
	span := usage.Span{Since: hour.Add(-time.Duration(surge.Over)), Until: hour.Add(time.Hour)}
	byHour := make(map[time.Time]uint64)
	first := hour
	err = u.store.Counters(ctx, usage.Query{Span: span, Key: suspect.Key}, func(c *usage.Counter) bool {
		if c.Reason == "" && c.Requests > 0 {
			byHour[c.Hour] += c.Requests
			if c.Hour.Before(first) {
				first = c.Hour
			}
		}
		return true
	})
	if err != nil {
		u.watch.Ask(suspect, suspect.Requests) // with its next request
		return false, err
	}
	requests := byHour[hour]
	delete(byHour, hour)
	if hour.Sub(first) < 24*time.Hour {
		return false, nil
	}
	var busiest uint64
	for _, n := range byHour {
		busiest = max(busiest, n)
	}
	limit := max(surge.Min, busiest*uint64(surge.Factor))
	if requests <= limit {
		u.watch.Ask(suspect, suspect.Requests+limit-requests)
		return false, nil
	}
	found.kind, found.count, found.limit = anomalySurge, requests, limit
	found.detail = fmt.Sprintf("%d requests in an hour, %d in the busiest of %s before", requests, busiest, time.Duration(surge.Over))
	return true, nil
}

// act tells of an anomaly, and suspends the key if that is asked for.
func (s *steward) act(ctx context.Context, u *useRecord, kr *keyring.Keyring, found *anomaly) {
	key, result := found.key, anomalyTold
	if s.app.Anomaly.Suspend {
		result = anomalyFailed
		suspended, err := suspendActive(ctx, kr, key)
		switch {
		case err != nil:
			s.app.logger.Error("a key that is used far outside of the usual could not be suspended", zap.String("key", key.ID), zap.Error(err))
		case suspended == nil:
			return // somebody ended it meanwhile
		default:
			key, result = suspended, anomalySuspended
			u.watch.Suspended(key.ID, time.Now())
		}
	}
	anomalyCounts.WithLabelValues(found.kind, result).Inc()
	s.app.logger.Warn("a key is used far outside of the usual",
		zap.String("key", key.ID), zap.String("org", key.Org), zap.String("kind", found.kind), zap.String("use", found.detail),
		zap.Bool("suspended", result == anomalySuspended))
	if result == anomalySuspended {
		s.app.Emit(eventSuspended, map[string]any{
			"id": key.ID, "name": key.Name, "org": key.Org, "revision": key.Revision, "client": "", "why": "anomaly: " + found.detail,
		})
	}
	s.app.Emit(eventAnomaly, map[string]any{
		"id": key.ID, "name": key.Name, "org": key.Org, "owner": key.Owner, "kind": found.kind, "count": found.count, "limit": found.limit,
		"at": found.at.UTC().Format(time.RFC3339), "why": found.detail, "suspended": result == anomalySuspended, "client": "",
	})
}

// suspendActive suspends a key as the admin API would. It returns nil if the key
// is not active any more: what people do with it meanwhile counts.
func suspendActive(ctx context.Context, kr *keyring.Keyring, key *keyring.Key) (*keyring.Key, error) {
	unknown := false // it may have been done
	for try := 0; ; try++ {
		suspended, err := kr.Suspend(ctx, key.ID, key.Revision)
		if errors.Is(err, keyring.ErrUncertain) && try < 3 {
			unknown = true
			continue // written again, its outcome tells
		}
		if !errors.Is(err, keyring.ErrConflict) || try >= 3 {
			return suspended, err
		}
		now, err := kr.Key(ctx, key.ID)
		switch {
		case errors.Is(err, keyring.ErrNotFound):
			return nil, nil
		case err != nil:
			return nil, err
		case unknown && now.State == keyring.StateSuspended && now.Revision == key.Revision+1:
			return now, nil
		case now.State != keyring.StateActive:
			return nil, nil
		}
		key = now
	}
}
