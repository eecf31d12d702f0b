package caddyapikey

import (
	"cmp"
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
	"github.com/caddy-apikey/caddy-apikey/internal/regular"
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
func (n *nonces) ring() *pooledRing { return n.open.Load() }

// spendNonce spends a nonce of a signature that a handler with this window let in. A
// sender can choose between handlers by what no signature covers, such as a
// header. So the rings of all windows come to know of it, in one order, of which
// the first decides who of several is first.
func (a *App) spendNonce(own *nonces, key string, second int64, nonce string, now time.Time) error {
	result := errNoRing
	for _, n := range a.rings {
		ring := n.ring()
		if ring == nil {
			return errNoRing
		}
		use := ring.Note
		if n == own {
			use, result = ring.Use, nil
		}
		if err := use(key, second, nonce, now); err != nil {
			return err
		}
	}
	return result
}

// errNoRing says that the app is not running.
var errNoRing = errors.New("used nonces are not known")

// nonceSpent reports whether a nonce is known to have been spent.
func (a *App) nonceSpent(key string, second int64, nonce string) bool {
	return slices.ContainsFunc(a.rings, func(n *nonces) bool {
		ring := n.ring()
		return ring != nil && ring.Spent(key, second, nonce)
	})
}

// pooledRing makes a ring a value of the pool.
type pooledRing struct {
	*hmacsig.NonceRing
	store  string
	window time.Duration
	file   string // "" for a store that keeps none
	logger *zap.Logger

	// Until when nonces may have been used that this ring does not know, by the
	// clock as it was, and when that was said, by the monotonic clock.
	lost, since time.Time

	// A later configuration runs without this ring, so that it does not know
	// what was used since.
	left atomic.Bool
}

// Use is that of the ring. If the clock was set ahead soon after the ring lost
// what had been used, then it was behind at that time: a machine that comes back
// from a power failure is told the time a moment later. What is not known ends by
// the right time as much later.
func (p *pooledRing) Use(credential string, second int64, nonce string, now time.Time) error {
	// When twice the window is over, all that was signed for that time is stale.
	if elapsed := time.Since(p.since); !p.lost.IsZero() && elapsed <= 2*p.window+2*time.Second {
		if ahead := now.Add(-elapsed); ahead.After(p.lost) {
			p.Lose(ahead)
		}
	}
	return p.NonceRing.Use(credential, second, nonce, now)
}

// Destruct saves the ring when the last configuration let go of it.
func (p *pooledRing) Destruct() error {
	if p.file == "" || p.left.Load() {
		return nil
	}
	if err := replaceFile(p.file, p.Save); err != nil {
		p.logger.Error("used nonces were not saved; signed requests are refused for a while after the next start", zap.Error(err))
	}
	return nil
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
	slices.SortFunc(a.rings, func(a, b *nonces) int { return cmp.Compare(b.window, a.window) })
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
	for _, p := range a.otherRings() {
		p.left.Store(true)
	}
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
		window, err := time.ParseDuration(text)
		if !ours || err != nil || a.hasWindow(window) {
			continue
		}
		a.leftWindow = max(a.leftWindow, window)
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("used nonces: %w", err)
		}
	}
	return nil
}

func (a *App) hasWindow(window time.Duration) bool {
	return slices.ContainsFunc(a.rings, func(n *nonces) bool { return n.window == window })
}

// otherRings returns the rings of the same store for windows that this
// configuration does not have: another one has them.
func (a *App) otherRings() []*pooledRing {
	var others []*pooledRing
	nonceRings.Range(func(_, value any) bool {
		if p := value.(*pooledRing); p.store == a.store.StoreKey() && !a.hasWindow(p.window) {
			others = append(others, p)
		}
		return true
	})
	return others
}

// lost returns until when nonces may have been used that a new ring for a window
// does not know. Who had a longer window let in signatures of times that are yet
// to come into this one.
func (a *App) lost(window time.Duration, kr *keyring.Keyring) time.Time {
	longest := max(window, a.leftWindow)
	for _, p := range a.otherRings() {
		longest = max(longest, p.window)
	}
	return kr.Now().Add(longest - window)
}

func (a *App) openRing(n *nonces, kr *keyring.Keyring) error {
	if n.open.Load() != nil {
		return nil
	}
	lost := a.lost(n.window, kr) // not while the pool waits for the ring
	value, _, err := nonceRings.LoadOrNew(a.ringKey(n), func() (caddy.Destructor, error) { return a.loadRing(n, kr, lost) })
	if err != nil {
		return err
	}
	p := value.(*pooledRing)
	if p.left.Swap(false) {
		p.Lose(lost)
	}
	n.open.Store(p)
	return nil
}

// loadRing makes a ring of what the last process saved. If there is nothing, it
// refuses what may have been accepted until lost; where no key could sign, there
// was nothing.
func (a *App) loadRing(n *nonces, kr *keyring.Keyring, lost time.Time) (*pooledRing, error) {
	p := &pooledRing{store: a.store.StoreKey(), window: n.window, logger: a.logger}
	limits := hmacsig.NonceLimits{Window: n.window}
	if !kr.HasSigners() {
		lost = time.Time{}
	}
	since := time.Now()
	keeper, ok := a.store.(nonceKeeper)
	if !ok {
		p.NonceRing, p.lost, p.since = hmacsig.NewNonceRing(limits, lost), lost, since
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
		ring, p.lost, p.since = hmacsig.NewNonceRing(limits, lost), lost, since
	case err != nil:
		return nil, fmt.Errorf("used nonces: %w", err)
	}
	p.NonceRing = ring
	return p, nil
}

// loadNonceFile loads a ring and removes its file, which is good for one start.
// What stands there and is no file is removed, too.
func loadNonceFile(limits hmacsig.NonceLimits, path string) (ring *hmacsig.NonceRing, err error) {
	file, err := regular.Open(path)
	switch {
	case errors.Is(err, regular.ErrNotRegular):
		err = fmt.Errorf("%w: %w", hmacsig.ErrNonceFile, err)
	case err != nil:
		return nil, err
	default:
		defer file.Close()
		ring, err = hmacsig.LoadNonceRing(limits, file)
	}
	if removed := os.Remove(path); removed != nil {
		return nil, removed
	}
	return ring, err
}

// releaseRings gives back what openRings took. Where another configuration goes
// on with other rings, those that nobody has any more are not saved: they would
// be out of date when they are loaded.
func (a *App) releaseRings() error {
	var errs []error
	goesOn := len(a.otherRings()) > 0
	for _, n := range a.rings {
		if p := n.open.Swap(nil); p != nil {
			if refs, _ := nonceRings.References(a.ringKey(n)); goesOn && refs == 1 {
				p.left.Store(true)
			}
			_, err := nonceRings.Delete(a.ringKey(n))
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
