package caddyapikey

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// quotaKeeper is a store with a place beside it for what was spent of quotas.
type quotaKeeper interface{ QuotaFile() string }

// limitTables has the tables of the process by StoreKey. Old and new
// configuration overlap during a reload and spend from the same one.
var limitTables = caddy.NewUsagePool()

// limitSweep is how often a table drops what is over.
const limitSweep = time.Minute

// limitTable is what the keys and orgs of one store have spent.
type limitTable struct {
	*limit.Table
	logger   *zap.Logger
	sweeping loop
}

// Destruct writes what was spent when the last configuration let go of it.
func (t *limitTable) Destruct() error {
	t.sweeping.end()
	if err := t.Close(); err != nil {
		t.logger.Error("what was spent of quotas since they were last reserved was not written; up to a hundredth of each is lost", zap.Error(err))
	}
	return nil
}

// failed logs when quotas cannot be written, and when they can again.
func (t *limitTable) failed(err error) {
	if err != nil {
		t.logger.Error("requests of keys and orgs with a quota are refused once what is reserved on disk is spent", zap.Error(err))
	} else {
		t.logger.Info("quotas are written again")
	}
}

// shareLimits takes the table if it is open already: on a reload requests may
// come in before Start.
func (a *App) shareLimits() {
	if _, open := limitTables.References(a.store.StoreKey()); open {
		_ = a.openLimits() // Start tries again, and tells
	}
}

// openLimits takes the table. Where its file cannot be read the server starts
// nevertheless: only requests that a quota holds for are refused.
func (a *App) openLimits() error {
	if a.limits.Load() != nil {
		return nil
	}
	value, _, err := limitTables.LoadOrNew(a.store.StoreKey(), func() (caddy.Destructor, error) {
		t := &limitTable{logger: a.logger}
		if keeper, ok := a.store.(quotaKeeper); ok {
			t.Table = limit.Open(limit.Options{Path: keeper.QuotaFile(), Failed: t.failed})
		} else {
			t.Table = limit.New(nil)
		}
		t.sweeping = startLoop(limitSweep, t.Sweep)
		return t, nil
	})
	if err != nil {
		return err
	}
	a.limits.Store(value.(*limitTable))
	return nil
}

// releaseLimits gives back what openLimits took.
func (a *App) releaseLimits() error {
	if a.limits.Load() == nil {
		return nil
	}
	_, err := limitTables.Delete(a.store.StoreKey())
	return err
}

// faultQuotas is a reason of Fault: quotas cannot be read or written.
const faultQuotas = "quotas_unwritten"

// limitFaults returns what is wrong with the quotas.
func (a *App) limitFaults() []keyring.Fault {
	t := a.limits.Load()
	if t == nil {
		return nil
	}
	if err := t.Health(); err != nil {
		return []keyring.Fault{{Reason: faultQuotas, Detail: fmt.Sprintf("%v. Keys and orgs with a quota per day or month are refused once what is reserved on disk is spent", err)}}
	}
	return nil
}

// KeyLimits returns how the limits of a key stand that has these of its own and
// is of this tier.
func (a *App) KeyLimits(id string, own []limit.Limit, tier string) ([]limit.State, error) {
	return a.lookAtLimits(limit.Carrier{Name: []byte(id), Own: own, Tier: a.tiers[tier].key}, false)
}

// OrgLimits is KeyLimits for an org.
func (a *App) OrgLimits(name string, own []limit.Limit, tier string) ([]limit.State, error) {
	return a.lookAtLimits(limit.Carrier{Name: []byte(name), Own: own, Tier: a.tiers[tier].org}, true)
}

func (a *App) lookAtLimits(c limit.Carrier, org bool) ([]limit.State, error) {
	t := a.limits.Load()
	if t == nil {
		return nil, limit.ErrUnavailable
	}
	return t.Look(c, org)
}
