package caddyapikey

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// nonceKeeper is a store with a place for used nonces beside it.
type nonceKeeper interface{ NonceFile() string }

// nonceRings has the rings of the process by store and window. Old and new
// configuration overlap during a reload and must know the same nonces.
var nonceRings = caddy.NewUsagePool()

// nonces is the ring of the handlers with one window.
type nonces struct {
	window time.Duration
	open   atomic.Pointer[pooledRing]
}

// ring returns nil while the app is not running.
func (n *nonces) ring() *hmacsig.NonceRing {
	if p := n.open.Load(); p != nil {
		return p.NonceRing
	}
	return nil
}

// pooledRing makes a ring a value of the pool.
type pooledRing struct {
	*hmacsig.NonceRing
	store  string
	window time.Duration
	file   string // "" for a store that keeps none
	logger *zap.Logger

	// A later configuration runs without this ring, so that it does not know
	// what was used since.
	left atomic.Bool
}

// Destruct saves the ring when the last configuration let go of it.
func (p *pooledRing) Destruct() error {
	if p.file == "" || p.left.Load() {
		return nil
	}
	if err := p.save(); err != nil {
		p.logger.Error("used nonces were not saved; signed requests are refused for a while after the next start", zap.Error(err))
	}
	return nil
}

// save writes the file whole or not at all.
func (p *pooledRing) save() error {
	tmp, err := os.OpenFile(p.file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(p.Save(tmp), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), p.file)
}

// nonces returns the ring for a window, which is there when the app runs.
func (a *App) nonces(window time.Duration) *nonces {
	for _, n := range a.rings {
		if n.window == window {
			return n
		}
	}
	n := &nonces{window: window}
	a.rings = append(a.rings, n)
	if _, open := nonceRings.References(a.ringKey(n)); open && a.Keyring() != nil {
		// On a reload requests may come in before Start.
		_ = a.openRing(n, a.Keyring()) // Start tries again, and tells
	}
	return n
}

func (a *App) ringKey(n *nonces) string { return a.store.StoreKey() + "\x00" + n.window.String() }

// openRings takes references to the rings that the handlers asked for.
func (a *App) openRings(kr *keyring.Keyring) error {
	if err := a.leaveRings(); err != nil {
		return err
	}
	for _, n := range a.rings {
		if err := a.openRing(n, kr); err != nil {
			return err
		}
	}
	return nil
}

// leaveRings gives up what is known for windows that this configuration does not
// have, in memory and in files: it would be out of date if they came back.
func (a *App) leaveRings() error {
	if len(a.rings) == 0 {
		return nil // nothing is used meanwhile
	}
	used := func(window time.Duration) bool {
		return slices.ContainsFunc(a.rings, func(n *nonces) bool { return n.window == window })
	}
	nonceRings.Range(func(_, value any) bool {
		if p := value.(*pooledRing); p.store == a.store.StoreKey() && !used(p.window) {
			p.left.Store(true)
		}
		return true
	})
	keeper, ok := a.store.(nonceKeeper)
	if !ok {
		return nil
	}
	dir, base := filepath.Split(keeper.NonceFile())
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("used nonces: %w", err)
	}
	for _, entry := range entries {
		text, ours := strings.CutPrefix(entry.Name(), base+".")
		if window, err := time.ParseDuration(text); !ours || err != nil || used(window) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("used nonces: %w", err)
		}
	}
	return nil
}

func (a *App) openRing(n *nonces, kr *keyring.Keyring) error {
	if n.open.Load() != nil {
		return nil
	}
	value, _, err := nonceRings.LoadOrNew(a.ringKey(n), func() (caddy.Destructor, error) { return a.loadRing(n, kr) })
	if err != nil {
		return err
	}
	p := value.(*pooledRing)
	if p.left.Swap(false) {
		p.Lose(kr.Now())
	}
	n.open.Store(p)
	return nil
}

// loadRing makes a ring of what the last process saved. If that is lost, it
// refuses what the last process may have accepted; where no key could sign,
// there was nothing.
func (a *App) loadRing(n *nonces, kr *keyring.Keyring) (*pooledRing, error) {
	p := &pooledRing{store: a.store.StoreKey(), window: n.window, logger: a.logger}
	limits := hmacsig.NonceLimits{Window: n.window}
	lost := kr.Now()
	if !kr.HasSigners() {
		lost = time.Time{}
	}
	keeper, ok := a.store.(nonceKeeper)
	if !ok {
		p.NonceRing = hmacsig.NewNonceRing(limits, lost)
		return p, nil
	}
	p.file = fmt.Sprintf("%s.%s", keeper.NonceFile(), n.window)
	ring, err := loadNonceFile(limits, p.file)
	switch {
	case errors.Is(err, hmacsig.ErrNonceFile), errors.Is(err, fs.ErrNotExist):
		if !lost.IsZero() {
			a.logger.Warn("which signatures were used before the start is not known, so that signed requests are refused until it does not matter any more",
				zap.String("file", p.file), zap.Duration("for", n.window), zap.Error(err))
		}
		ring = hmacsig.NewNonceRing(limits, lost)
	case err != nil:
		return nil, fmt.Errorf("used nonces: %w", err)
	}
	p.NonceRing = ring
	return p, nil
}

// loadNonceFile loads a ring and removes its file, which is good for one start.
func loadNonceFile(limits hmacsig.NonceLimits, path string) (*hmacsig.NonceRing, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	ring, err := hmacsig.LoadNonceRing(limits, file)
	if removed := os.Remove(path); removed != nil {
		return nil, removed
	}
	return ring, err
}

// releaseRings gives back what openRings took.
func (a *App) releaseRings() error {
	var errs []error
	for _, n := range a.rings {
		if n.open.Swap(nil) != nil {
			_, err := nonceRings.Delete(a.ringKey(n))
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
