package caddyapikey

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Start opens the store and reads the keys, unless Provision found them in
// memory, and warns of logs that would show keys, of limits without one, and of
// tiers without limits.
func (a *App) Start() error {
	if err := a.open(); err != nil {
		return err
	}
	if err := a.openRings(a.Keyring()); err != nil {
		return err
	}
	if err := a.openLimits(); err != nil {
		return err
	}
	if err := a.openUseRecord(); err != nil {
		a.logger.Error("no record of use is kept: who uses which key cannot be told, and rules with audit refuse every request", zap.Error(err))
	}
	if err := a.openAuditLog(); err != nil {
		a.logger.Error("the trails are not logged", zap.Error(err))
	}
	a.generation.Store(generations.Add(1))
	a.announcer.begin()
	a.steward = a.startSteward()
	a.checkLogs()
	a.checkZones()
	a.checkOrder()
	a.checkTiers(activeApp())
	return nil
}

// generations counts the apps that were started in this process.
var generations atomic.Uint64

func (a *App) open() error {
	if a.held {
		return nil
	}
	began := time.Now()
	kr, err := openKeyring(context.Background(), a.store)
	if err != nil {
		return err
	}
	a.hold(kr)
	if err := a.useMasterKey(kr); err != nil {
		return err
	}
	stats := kr.Stats()
	a.logger.Info("keys loaded",
		zap.Int("keys", stats.Keys),
		zap.String("store", a.store.StoreKey()),
		zap.Duration("took", time.Since(began)))
	if stats.Damaged > 0 {
		a.logger.Error("some keys are refused because their records are damaged; restore a backup",
			zap.Int("damaged", stats.Damaged),
			zap.String("store", a.store.StoreKey()))
	}
	return nil
}

func (a *App) hold(kr *keyring.Keyring) {
	a.held = true
	a.keyring.Store(kr)
}

// Stop ends what goes on by itself. Requests that are being served need the keys until
// Cleanup.
func (a *App) Stop() error {
	a.endSteward()
	a.announcer.end()
	return nil
}

func (a *App) endSteward() {
	if a.steward != nil {
		a.steward.end()
		a.steward = nil
	}
}

// Cleanup gives the keys back. On a reload Caddy does not wait for the requests
// that the old configuration is serving. They are decided as long as another
// configuration keeps the keys up to date, and refused from then on.
func (a *App) Cleanup() error {
	a.endSteward()
	if a.announcer != nil { // nil if provisioning failed
		a.announcer.end()
	}
	released := a.releaseDenyFiles()
	if !a.held {
		return released
	}
	a.held = false
	a.endTrail()
	return errors.Join(released, a.releaseRings(), a.releaseAuditLog(), a.releaseUseRecord(), a.releaseLimits(), releaseKeyring(a.store))
}
