package caddyapikey

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/regular"
	"github.com/caddy-apikey/caddy-apikey/lockout"
)

// lockoutTables has the tables of the process by name. Old and new configuration
// overlap during a reload and must know the same locks.
var lockoutTables = caddy.NewUsagePool()

// lockoutTable is a table with its file in Caddy's data directory.
type lockoutTable struct {
	*lockout.Table
	name   string
	file   string
	logger *zap.Logger

	mu     sync.Mutex // of saving
	failed bool       // the last time, which was logged
	idle   bool       // there was nothing to save the last time

	stop, done chan struct{}
}

// How soon a new lock is saved, and how often everything is: counters, and
// durations with a new time of the wall clock.
const (
	lockoutSaveDelay = 200 * time.Millisecond
	lockoutSaveEvery = time.Minute
)

// openLockoutTable takes a reference to the table of a name, which it loads if no
// other configuration has.
func openLockoutTable(name string, logger *zap.Logger) (*lockoutTable, error) {
	value, _, err := lockoutTables.LoadOrNew(name, func() (caddy.Destructor, error) {
		t := &lockoutTable{
			name:   name,
			file:   filepath.Join(caddy.AppDataDir(), "lockouts", name),
			logger: logger.With(zap.String("lockout", name)),
			stop:   make(chan struct{}),
			done:   make(chan struct{}),
		}
		t.load()
		go t.run()
		return t, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*lockoutTable), nil
}

func releaseLockoutTable(name string) error {
	_, err := lockoutTables.Delete(name)
	return err
}

// load reads the file. A lockout without its file is an empty one, and the
// server starts: the locks that are lost would have ended by themselves, whoever
// goes on is locked again, and no request is let in that has no right to be.
// Refusing to start would turn a damaged file into an outage of everything.
func (t *lockoutTable) load() {
	t.Table = lockout.New(lockout.DefaultLimits)
	file, err := regular.Open(t.file)
	if errors.Is(err, fs.ErrNotExist) {
		t.idle = true
		return
	}
	if err == nil {
		err = t.Load(file)
		file.Close()
	}
	if err == nil {
		t.logger.Info("locks loaded", zap.Int("locked", t.Stats().Locked))
		return
	}
	t.Table = lockout.New(lockout.DefaultLimits)
	aside := t.file + ".damaged"
	if renamed := os.Rename(t.file, aside); renamed != nil {
		aside = t.file
	}
	t.logger.Error("locks of before the start are lost: no address is locked, and counting begins anew",
		zap.String("file", aside), zap.Error(err))
}

// run saves and sweeps until the last configuration let go of the table.
func (t *lockoutTable) run() {
	defer close(t.done)
	ticker := time.NewTicker(lockoutSaveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-ticker.C:
			t.Sweep()
			t.saveUnlessIdle()
		case <-t.Changed():
			select {
			case <-t.stop:
				return
			case <-time.After(lockoutSaveDelay):
			}
			began := time.Now()
			t.save()
			// While many are locked, saving takes a twentieth of the time.
			select {
			case <-t.stop:
				return
			case <-time.After(19 * time.Since(began)):
			}
		}
	}
}

// save writes the file. Locks are in force whether that succeeds or not.
func (t *lockoutTable) save() {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := os.MkdirAll(filepath.Dir(t.file), 0o700)
	if err == nil {
		err = replaceFile(t.file, func(w io.Writer) error {
			b := bufio.NewWriter(w)
			return errors.Join(t.Save(b), b.Flush())
		})
	}
	if err != nil {
		lockoutMetrics.saveErrors.WithLabelValues(lockoutLabels.of(t.name)).Inc()
		if !t.failed {
			t.logger.Error("locks are not saved, and would not survive a restart; trying on", zap.Error(err))
		}
	}
	t.failed, t.idle = err != nil, err == nil && t.isEmpty()
}

// saveUnlessIdle saves, but not nothing again and again.
func (t *lockoutTable) saveUnlessIdle() {
	t.mu.Lock()
	idle := t.idle && t.isEmpty()
	t.mu.Unlock()
	if !idle {
		t.save()
	}
}

func (t *lockoutTable) isEmpty() bool {
	stats := t.Stats()
	return stats.Locked == 0 && stats.Counters == 0
}

// Destruct saves the table when the last configuration let go of it.
func (t *lockoutTable) Destruct() error {
	close(t.stop)
	<-t.done
	t.saveUnlessIdle()
	return nil
}
