package caddyapikey

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/denylist"
)

// denyFiles has the deny lists of the process by absolute path. Old and new
// configuration share them during a reload, and so do handlers: a list is in
// memory once.
var denyFiles = caddy.NewUsagePool()

// denyLook is how often files are looked at. Tests cannot wait so long.
var denyLook = time.Second

// denyFile is a deny list that is kept up to date.
type denyFile struct {
	*denylist.File
	logger  *zap.Logger
	shrinks atomic.Int32 // how many of the configurations that run let it shrink
	told    string       // the fault that was told last
	looking loop
}

// denyUse is one reference to a file.
type denyUse struct {
	file      *denyFile
	mayShrink bool
}

// openDenyFile takes a reference to a file, which is given back by Cleanup. It
// fails if the file as it is now is not good, also if the list of another one is
// in force.
func (a *App) openDenyFile(path string, mayShrink bool) (*denyFile, error) {
	if len(a.denyFiles) == 0 { // without files there are no metrics of them
		if err := a.registry.Register(denyMetrics); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return nil, err
		}
	}
	began := time.Now()
	value, shared, err := denyFiles.LoadOrNew(path, func() (caddy.Destructor, error) {
		list, err := denylist.Open(path, mayShrink)
		if err != nil {
			return nil, err
		}
		f := &denyFile{File: list, logger: a.logger}
		a.logger.Info("deny list loaded", zap.String("file", path), zap.Int("entries", f.Status().Entries), zap.Duration("took", time.Since(began)))
		f.looking = startLoop(denyLook, f.look)
		return f, nil
	})
	if err != nil {
		return nil, err
	}
	f := value.(*denyFile)
	a.denyFiles = append(a.denyFiles, denyUse{f, mayShrink})
	if shared {
		// A list that the configuration before would not take waits until this one
		// runs: it may be refused yet.
		err := f.Reload(f.shrinks.Load() > 0)
		if shrunk := errors.Is(err, denylist.ErrShrunk) || errors.Is(err, denylist.ErrEmpty); err != nil && !(shrunk && mayShrink) {
			return nil, err
		}
	}
	return f, nil
}

// shrinkDenyFiles lets lists shrink whose lines say so, now that the
// configuration runs.
func (a *App) shrinkDenyFiles() {
	a.denyShrinks.Store(true)
	for _, use := range a.denyFiles {
		if use.mayShrink {
			use.file.shrinks.Add(1)
			_ = use.file.Reload(true) // a look tells what is wrong
		}
	}
}

// releaseDenyFiles gives all references back. The list of them stays: health may
// be asked at the same time.
func (a *App) releaseDenyFiles() error {
	if a.denyReleased {
		return nil
	}
	a.denyReleased = true
	var errs []error
	for _, use := range a.denyFiles {
		if use.mayShrink && a.denyShrinks.Load() {
			use.file.shrinks.Add(-1)
		}
		_, err := denyFiles.Delete(use.file.Path())
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// look looks at the file once, and tells what became of it.
func (f *denyFile) look() {
	before := f.Status()
	began := time.Now()
	replaced := f.Look(f.shrinks.Load() > 0)
	now := f.Status()
	if replaced {
		f.tellReplaced(before, now, time.Since(began))
	}
	fault := ""
	if now.Fault != nil {
		fault = now.Fault.Error()
	}
	if fault == f.told {
		return
	}
	f.told = fault
	switch {
	case fault != "":
		f.tellFailed(now)
	case !replaced:
		f.log().Info("the file of the deny list is again the one whose list is in force", zap.String("file", f.Path()))
	}
}

// Destruct ends the looking when the last configuration let go of the file.
func (f *denyFile) Destruct() error {
	f.looking.end()
	return nil
}
