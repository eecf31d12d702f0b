package caddyapikey

import (
	"time"

	"go.uber.org/zap"

	"github.com/caddy-apikey/caddy-apikey/denylist"
)

// Events of deny lists.
const (
	eventDenyReplaced = "api_key_deny_list_replaced" // the file has changed, and its list is in force
	eventDenyFailed   = "api_key_deny_list_failed"   // it has changed, and the list before stays
)

// log returns the log of the configuration that runs: the one that opened the
// file may be gone.
func (f *denyFile) log() *zap.Logger {
	if app := activeApp(); app != nil {
		return app.logger
	}
	return f.logger
}

func (f *denyFile) tellReplaced(before, now denylist.Status, took time.Duration) {
	denyMetrics.replaced.WithLabelValues(denyLabels.of(f.Path())).Inc()
	f.log().Info("deny list replaced", zap.String("file", f.Path()),
		zap.Int("entries", now.Entries), zap.Int("before", before.Entries), zap.Duration("took", took))
	emitOfList(eventDenyReplaced, map[string]any{"file": f.Path(), "entries": now.Entries, "before": before.Entries})
}

func (f *denyFile) tellFailed(now denylist.Status) {
	denyMetrics.failures.WithLabelValues(denyLabels.of(f.Path())).Inc()
	f.log().Error("the file of the deny list is not good; the previous list stays in force", zap.String("file", f.Path()),
		zap.Error(now.Fault), zap.Int("entries", now.Entries), zap.Time("loaded", now.LoadedAt))
	emitOfList(eventDenyFailed, map[string]any{"file": f.Path(), "error": now.Fault.Error(), "entries": now.Entries, "loaded_at": now.LoadedAt.UTC().Format(timeOfList)})
}

// emitOfList tells the event handlers of the configuration that runs.
func emitOfList(name string, data map[string]any) {
	if app := activeApp(); app != nil {
		app.Emit(name, data)
	}
}
