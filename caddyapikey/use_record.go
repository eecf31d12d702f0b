package caddyapikey

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// ledgerOpener is a store with a place for the record of use beside it.
type ledgerOpener interface {
	// OpenLedger opens it. It is called once for each StoreKey at a time.
	OpenLedger(keep usage.Keep) (usage.Store, error)
}

// Defaults of the app's options about records.
const (
	defaultRetainUsage = 400 * 24 * time.Hour
	defaultRetainCalls = 30 * 24 * time.Hour
	defaultRetainAudit = 5 * 365 * 24 * time.Hour
	defaultRecentUse   = 24 * time.Hour
	defaultUnusedAfter = 90 * 24 * time.Hour
)

// maxLastCalls bounds the calls that are kept of each key.
const maxLastCalls = 10_000

// minKept is the shortest time that records are kept: whoever writes 6m means
// months, and would have all of them deleted after minutes.
const minKept = time.Hour

func checkKept(option string, d time.Duration) error {
	if d < minKept {
		return fmt.Errorf("%s %s: at least 1h is possible; m are minutes, so write days or years, such as 180d or 5y", option, d)
	}
	return nil
}

// provisionRecords sets defaults and checks what is set.
func (a *App) provisionRecords() error {
	if a.Retain == nil {
		a.Retain = new(Retain)
	}
	for _, d := range []struct {
		option *caddy.Duration
		name   string
		fill   time.Duration
		off    bool // negative means never
		days   bool // it is no time of minutes
	}{
		{&a.Retain.Usage, "retain usage", defaultRetainUsage, false, true},
		{&a.Retain.Calls, "retain calls", defaultRetainCalls, false, true},
		{&a.Retain.Audit, "retain audit", defaultRetainAudit, false, true},
		{&a.ExpiryWarning, "expiry_warning", defaultExpiryWarning, true, false},
		{&a.RecentUse, "recent_use", defaultRecentUse, true, false},
		{&a.UnusedAfter, "unused_after", defaultUnusedAfter, true, true},
	} {
		if *d.option == 0 {
			*d.option = caddy.Duration(d.fill)
		}
		if *d.option < 0 && !d.off {
			return fmt.Errorf("%s: a negative time; leave it out for the default", d.name)
		}
		if d.days && *d.option > 0 {
			if err := checkKept(d.name, time.Duration(*d.option)); err != nil {
				return err
			}
		}
	}
	if a.Retain.LastCalls == 0 {
		a.Retain.LastCalls = usage.DefaultLastCalls
	}
	if a.Anomaly != nil {
		if err := a.Anomaly.validate(); err != nil {
			return err
		}
	}
	if a.Retain.LastCalls < 0 || a.Retain.LastCalls > maxLastCalls {
		return fmt.Errorf("retain last_calls: %d is outside 1 to %d", a.Retain.LastCalls, maxLastCalls)
	}
	return nil
}

// keep is what the record of use keeps.
func (a *App) keep() usage.Keep {
	return usage.Keep{Usage: time.Duration(a.Retain.Usage), Calls: time.Duration(a.Retain.Calls), Last: a.Retain.LastCalls}
}

// closeTimeout bounds how long a stopping server tries to write the last counts.
const closeTimeout = 3 * time.Second

// useRecords has the records of use of the process by StoreKey. Old and new
// configuration overlap during a reload and count into the same one.
var useRecords = caddy.NewUsagePool()

// useRecord is the record of use of one store.
type useRecord struct {
	*usage.Recorder
	store  usage.Store
	logger *zap.Logger
	told   atomic.Int64 // when all keys were looked at last, in Unix nanoseconds

	watch   *usage.Watch
	judging sync.Mutex // held while suspects of the watch are looked at

	trail    audit.CallTrail // nil if the store has none
	auditing auditing
	auditErr auditTrouble
	refused  *pacer[refusedCall]
	purging  *purgeGuard
	resuming sync.WaitGroup
	stop     context.CancelFunc // of that
}

// noticed returns when all keys were looked at last.
func (u *useRecord) noticed() time.Time {
	if u == nil || u.told.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(0, u.told.Load())
}

// Destruct writes what is left when the last configuration let go of it.
func (u *useRecord) Destruct() error {
	u.endResume()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := u.Close(ctx); err != nil {
		u.logger.Error("the last counts of use were not written", zap.Error(err))
	}
	return u.store.Close()
}

// shareUseRecord takes the record of use if it is open already: on a reload
// requests may come in before Start.
func (a *App) shareUseRecord() {
	if _, open := useRecords.References(a.store.StoreKey()); open {
		_ = a.openUseRecord() // Start tries again, and tells
	}
}

// openUseRecord takes the record of use. Without one, keys work as ever, since
// to lose count must not lock anybody out; but nobody can say who uses them, and
// what must be recorded before it is served is refused.
func (a *App) openUseRecord() error {
	if a.use.Load() != nil {
		return nil
	}
	opener, ok := a.store.(ledgerOpener)
	if !ok {
		return nil
	}
	value, _, err := useRecords.LoadOrNew(a.store.StoreKey(), func() (caddy.Destructor, error) {
		store, err := opener.OpenLedger(a.keep())
		if err != nil {
			return nil, err
		}
		u := &useRecord{store: store, logger: a.logger, watch: usage.NewWatch(), refused: newRefusedCalls()}
		var written time.Time
		if store, ok := store.(interface{ WrittenBefore() time.Time }); ok {
			written = store.WrittenBefore()
		}
		u.purging = newPurgeGuard(time.Now(), written)
		if u.trail, _ = store.(audit.CallTrail); u.trail != nil {
			u.resume(time.Now())
		}
		u.Recorder = usage.NewRecorder(store, usage.Options{Scrub: scrubSecrets, LastCalls: a.Retain.LastCalls, Added: tellNewPlaces, Written: u.watch.Note})
		return u, nil
	})
	if err != nil {
		return err
	}
	a.use.Store(value.(*useRecord))
	return nil
}

// keepAnew has the record of use keep, and look for, what this configuration says,
// which may have found it open, and deny lists shrink. It is called when the configuration runs: what one that is
// refused says must not throw anything away.
func (a *App) keepAnew() {
	a.shrinkDenyFiles()
	if a.trailLog != nil {
		a.trailLog.app.Store(a)
	}
	u := a.use.Load()
	if u == nil {
		return
	}
	keep := a.keep()
	if store, ok := u.store.(interface{ SetKeep(usage.Keep) }); ok {
		store.SetKeep(keep)
	}
	u.SetLastCalls(keep.Last)
	u.watch.Set(a.Anomaly.unusual())
}

// scrubRules is for what clients send that is kept.
var scrubRules currentRules

// scrubSecrets removes what a configuration of this process takes for a secret.
func scrubSecrets(text string) string { return scrubRules.current().Text(text) }

// releaseUseRecord gives back what openUseRecord took. Requests that the old
// configuration is still serving count into it as before: the next one keeps it
// open, unless it has another store.
func (a *App) releaseUseRecord() error {
	if a.use.Load() == nil {
		return nil
	}
	_, err := useRecords.Delete(a.store.StoreKey())
	return err
}

var errNoUseRecord = errors.New("no record of use is kept")

// flushed returns the record of use with everything counted so far in it.
func (a *App) flushed(ctx context.Context) (usage.Store, error) {
	u := a.use.Load()
	if u == nil {
		return nil, errNoUseRecord
	}
	if err := u.Flush(ctx); err != nil {
		return nil, err
	}
	if u.trail != nil {
		if err := u.trail.FlushOutcomes(ctx); err != nil {
			return nil, err
		}
	}
	return u.store, nil
}

// faultUse is a reason of Fault: use is not recorded.
const faultUse = "use_unrecorded"

// maxUnwritten is how long counts may wait: they are written every second.
const maxUnwritten = 10 * time.Second

// useFaults returns what is wrong with the record of use.
func (a *App) useFaults() []keyring.Fault {
	const effect = "Who uses which key cannot be told"
	faults := a.auditFaults()
	u := a.use.Load()
	if u == nil {
		return append(faults, keyring.Fault{Reason: faultUse, Detail: "no record of use is kept, for a reason that Caddy's log tells. " + effect})
	}
	if since, err := u.Health(); err != nil && time.Since(since) > maxUnwritten {
		faults = append(faults, keyring.Fault{Reason: faultUse, Detail: fmt.Sprintf("nothing was recorded since %s: %v. %s", since.Format(time.RFC3339), err, effect)})
	}
	return faults
}

// UseRecord returns the record of use with everything counted so far in it.
func (a *App) UseRecord(ctx context.Context) (usage.Store, error) { return a.flushed(ctx) }

// ConfirmWithin is how long after its last use to end a credential asks for
// confirmation; not positive: never.
func (a *App) ConfirmWithin() time.Duration { return time.Duration(a.RecentUse) }

// FollowCalls returns a follower of a key's calls, nil if there can be none.
func (a *App) FollowCalls(key string) *usage.Follower {
	if u := a.use.Load(); u != nil {
		return u.Follow(key)
	}
	return nil
}
