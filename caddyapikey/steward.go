package caddyapikey

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// Events that follow from the record of use.
const (
	eventNewAddress = "api_key_new_address" // a key was let in from where it never was before
	eventExpiring   = "api_key_expiring"    // it will end soon
	eventUnused     = "api_key_unused"      // it was not used for long
	eventIdleEnded  = "api_key_credential_ended"
)

const (
	idleCheck       = time.Minute    // how often rotations are looked at that end by themselves
	suppressedCheck = time.Minute    // how often refusals without an entry are counted in one
	purgeCheck      = time.Hour      // how often old records are removed
	noticeCheck     = 24 * time.Hour // how often keys are looked at that will end, or are not used

	// firstNotice is when that is done first after a start.
	firstNotice = time.Minute

	// maxNotices bounds the events of one look at all keys.
	maxNotices = 500
)

// steward does what follows from the record of use by itself.
type steward struct {
	app  *App
	stop context.CancelFunc
	done sync.WaitGroup
}

func (a *App) startSteward() *steward {
	ctx, cancel := context.WithCancel(audit.WithOrigin(context.Background(), audit.Origin{Actor: audit.Server}))
	s := &steward{app: a, stop: cancel}
	s.every(ctx, idleCheck, idleCheck, s.endIdle)
	s.every(ctx, suppressedCheck, suppressedCheck, s.tellSuppressed)
	s.every(ctx, purgeCheck, purgeCheck, s.purge)
	if a.Anomaly != nil {
		s.every(ctx, anomalyCheck, anomalyCheck, s.anomalies)
	}
	s.every(ctx, firstVerify, noticeCheck, s.verifyTrail)
	s.every(ctx, purgeCheck, purgeCheck, s.purgeTrail)
	// Not anew with each reload.
	first := max(firstNotice, noticeCheck-time.Since(a.use.Load().noticed()))
	s.every(ctx, first, noticeCheck, s.notice)
	return s
}

func (s *steward) end() {
	s.stop()
	s.done.Wait()
}

func (s *steward) every(ctx context.Context, first, pause time.Duration, do func(context.Context)) {
	s.done.Go(func() {
		timer := time.NewTimer(first)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
				do(ctx)
				timer.Reset(pause)
			case <-ctx.Done():
				return
			}
		}
	})
}

// endIdle ends the old credentials of rotations for which that was asked, once
// they were not used for the time that was said. Without a record of use nobody
// knows, and they live until their overlap ends.
func (s *steward) endIdle(ctx context.Context) {
	kr := s.app.Keyring()
	if kr == nil {
		return
	}
	for _, id := range kr.IdleRotations() {
		if err := s.endIdleOf(ctx, kr, id); err != nil && ctx.Err() == nil {
			s.app.logger.Warn("an old credential that may be idle was not ended", zap.String("key", id), zap.Error(err))
		}
	}
}

func (s *steward) endIdleOf(ctx context.Context, kr *keyring.Keyring, id string) error {
	store, err := s.app.flushed(ctx)
	if err != nil {
		return err
	}
	key, err := kr.Key(ctx, id)
	if err != nil {
		return err
	}
	now := kr.Now()
	if !key.RotationPending(now) || key.Rotation.EndWhenIdle == 0 {
		return nil
	}
	uses, err := store.LastUses(ctx, []string{id})
	if err != nil {
		return err
	}
	for _, old := range key.Rotation.Old {
		c := key.Credential(old.N)
		if c == nil || !c.Live(now) {
			continue
		}
		last := key.Rotation.StartedAt
		for _, u := range uses[0] {
			if u.Credential == old.N && u.Last.After(last) {
				last = u.Last
			}
		}
		if now.Sub(last) < key.Rotation.EndWhenIdle {
			continue
		}
		ended, err := kr.EndCredential(ctx, id, key.Revision, old.N)
		if err != nil {
			return err // somebody changed the key; in a minute it is looked at again
		}
		key = ended
		s.app.logger.Info("an old credential was ended: it was not used any more",
			zap.String("key", id), zap.Uint32("credential", old.N), zap.Time("last_used", last))
		s.app.Emit(eventIdleEnded, map[string]any{
			"id": id, "name": key.Name, "org": key.Org, "revision": key.Revision, "credential": old.N, "client": "", "why": "idle",
		})
		if key.Rotation == nil {
			return nil
		}
	}
	return nil
}

func (s *steward) purge(ctx context.Context) {
	u, now := s.app.use.Load(), time.Now()
	if u == nil || !u.mayPurge(now) {
		return
	}
	if err := u.store.Purge(ctx); err != nil && ctx.Err() == nil {
		s.app.logger.Error("old records of use were not removed", zap.Error(err))
	}
	if u.trail == nil {
		return
	}
	if err := u.trail.PurgeTrail(ctx, now.Add(-time.Duration(s.app.Retain.Audit))); err != nil && ctx.Err() == nil {
		s.app.logger.Error("old entries of the trail of calls were not removed", zap.Error(err))
	}
}

// notice tells of keys that will end soon, and of those that nobody uses.
func (s *steward) notice(ctx context.Context) {
	kr := s.app.Keyring()
	u := s.app.use.Load()
	if kr == nil || u == nil {
		return
	}
	store, err := s.app.flushed(ctx)
	if err != nil {
		return
	}
	since, err := store.Since(ctx)
	if err != nil {
		return
	}
	now := kr.Now()
	n := notices{app: s.app, now: now, since: since, left: map[string]int{eventExpiring: maxNotices, eventUnused: maxNotices}}
	var chunk []*keyring.Key
	look := func() {
		ids := make([]string, len(chunk))
		for i, key := range chunk {
			ids[i] = key.ID
		}
		uses, err := store.LastUses(ctx, ids)
		if err != nil {
			return
		}
		for i, key := range chunk {
			n.about(key, uses[i])
		}
		chunk = chunk[:0]
	}
	err = kr.EachKey(ctx, func(key *keyring.Key) {
		if key.State != keyring.StateActive {
			return
		}
		if chunk = append(chunk, key); len(chunk) == 1000 {
			look()
		}
	})
	look()
	if err == nil {
		u.told.Store(time.Now().UnixNano())
	}
	for name, left := range n.left {
		if left < 0 {
			s.app.logger.Warn("more keys than are told of one by one", zap.String("event", name), zap.Int("more", -left))
		}
	}
}

type notices struct {
	app   *App
	now   time.Time
	since time.Time // of the record
	left  map[string]int
}

func (n *notices) about(key *keyring.Key, uses []usage.LastUse) {
	if ends := n.endOf(key); !ends.IsZero() && n.app.ExpiryWarning > 0 && ends.Sub(n.now) <= time.Duration(n.app.ExpiryWarning) {
		n.tell(eventExpiring, key, map[string]any{"ends_at": ends.UTC().Format(time.RFC3339)})
	}
	// A key that is younger than the record was not used since it was made; of
	// an older one nothing is known before the record.
	last, never := key.CreatedAt, true
	if n.since.After(last) {
		last = n.since
	}
	for _, u := range uses {
		if u.Requests > 0 && u.Last.After(last) {
			last, never = u.Last, false
		}
	}
	if n.app.UnusedAfter > 0 && n.now.Sub(last) >= time.Duration(n.app.UnusedAfter) {
		data := map[string]any{"last_used_at": "", "owner": key.Owner}
		if !never {
			data["last_used_at"] = last.UTC().Format(time.RFC3339)
		}
		n.tell(eventUnused, key, data)
	}
}

// endOf returns when a key that works now will not any more: with its own end,
// or that of the credential that lives longest.
func (n *notices) endOf(key *keyring.Key) time.Time {
	var ends []time.Time
	for i := range key.Credentials {
		if c := &key.Credentials[i]; c.Live(n.now) {
			if c.ExpiresAt.IsZero() {
				return key.ExpiresAt
			}
			ends = append(ends, c.ExpiresAt)
		}
	}
	if len(ends) == 0 {
		return time.Time{}
	}
	end := slices.MaxFunc(ends, time.Time.Compare)
	if !key.ExpiresAt.IsZero() && key.ExpiresAt.Before(end) {
		end = key.ExpiresAt
	}
	return end
}

func (n *notices) tell(name string, key *keyring.Key, data map[string]any) {
	if n.left[name]--; n.left[name] < 0 {
		return
	}
	data["id"], data["name"], data["org"], data["owner"] = key.ID, key.Name, key.Org, key.Owner
	n.app.Emit(name, data)
}

// newAddressEvents paces events about one key that is used from ever more
// places.
var newAddressEvents = pacer[string]{pause: time.Minute, most: 4096}

// tellNewPlaces tells event handlers from where keys were used for the first
// time; not of the first place of all, which is no news.
func tellNewPlaces(added usage.Added) {
	app := activeApp()
	if app == nil || len(added.NewPlaces) == 0 || !app.announcer.wanted(eventNewAddress) {
		return
	}
	kr := app.Keyring()
	if kr == nil {
		return
	}
	for _, p := range added.NewPlaces {
		if p.First {
			continue
		}
		suppressed, ok := newAddressEvents.admit(p.Key, time.Now())
		if !ok {
			eventCounts.WithLabelValues(eventNewAddress, eventSuppressed).Inc()
			continue
		}
		key, err := kr.Key(context.Background(), p.Key)
		if err != nil {
			continue
		}
		app.Emit(eventNewAddress, map[string]any{
			"id": key.ID, "name": key.Name, "org": key.Org, "owner": key.Owner, "credential": p.Credential,
			"client": p.Place.String(), "at": p.Time.Format(time.RFC3339), "suppressed": suppressed,
		})
	}
}
