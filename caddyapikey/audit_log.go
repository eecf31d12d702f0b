package caddyapikey

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// auditLogName is the logger of both trails, below Caddy's http.
const auditLogName = "log.api_keys.audit"

// Names of the trails, as the log and the admin API call them.
const (
	trailCalls      = "calls"
	trailManagement = "management"
)

// auditLog writes an entry of a trail, which is on the disk, as one line of a
// Caddy log. The payload is written as it was hashed: who keeps these lines
// elsewhere can tell whether the file was forged.
func (a *App) auditLog(trail string, e *audit.Entry) {
	entry := a.auditLogger.Check(zapcore.InfoLevel, actionOf(e))
	if entry == nil {
		return
	}
	fields := []zap.Field{
		zap.String("trail", trail),
		zap.Uint64("seq", e.Seq),
		zap.String("time", e.Time.UTC().Format(keyring.TimeFormat)),
		zap.String("hash", hex.EncodeToString(e.Hash[:])),
		zap.Reflect("entry", json.RawMessage(e.Payload)),
	}
	if len(e.Details) > 0 {
		fields = append(fields, zap.Reflect("details", json.RawMessage(e.Details)))
	}
	entry.Write(fields...)
}

// actionOf is what the line says first.
func actionOf(e *audit.Entry) string {
	var p struct {
		Action string `json:"action"`
	}
	if json.Unmarshal(e.Payload, &p) != nil || p.Action == "" {
		return "entry"
	}
	return p.Action
}

// auditLogs has what is logged of the trails of each store, by StoreKey: a line
// is written once, whatever configurations come and go.
var auditLogs = caddy.NewUsagePool()

// auditLogCheck is how often the trails are looked at.
const auditLogCheck = time.Second

// trailLog follows the trails of a store and logs their entries. It reads them
// back, so that a log which is slow or blocked loses no line and holds up nobody:
// it only falls behind.
type trailLog struct {
	app     atomic.Pointer[App] // whose logger is used
	looking loop

	mu    sync.Mutex
	tails []*trailTail
}

// trailTail is how far one trail was logged.
type trailTail struct {
	name  string
	trail audit.Trail
	at    atomic.Uint64
}

func newTrailLog() *trailLog {
	l := new(trailLog)
	l.looking = startLoop(auditLogCheck, func() { l.catchUp(context.Background()) })
	return l
}

// openAuditLog begins to log what comes from now on, unless a configuration
// before has.
func (a *App) openAuditLog() error {
	value, _, err := auditLogs.LoadOrNew(a.store.StoreKey(), func() (caddy.Destructor, error) { return newTrailLog(), nil })
	if err != nil {
		return err
	}
	a.trailLog = value.(*trailLog)
	if err := a.trailLog.follow(trailManagement, a.Keyring().Trail()); err != nil {
		return err
	}
	if u := a.use.Load(); u != nil && u.trail != nil {
		return a.trailLog.follow(trailCalls, u.trail)
	}
	return nil
}

func (a *App) releaseAuditLog() error {
	if a.trailLog == nil {
		return nil
	}
	_, err := auditLogs.Delete(a.store.StoreKey())
	return err
}

// follow has a trail logged from its end on, unless it is already.
func (l *trailLog) follow(name string, trail audit.Trail) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.tails {
		if t.name == name && t.trail == trail {
			return nil
		}
	}
	t := &trailTail{name: name, trail: trail}
	last, err := lastOf(context.Background(), trail)
	if err != nil {
		return err
	}
	t.at.Store(last)
	l.tails = append(l.tails, t)
	return nil
}

func (l *trailLog) following() []*trailTail {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tails
}

// catchUp logs what there is.
func (l *trailLog) catchUp(ctx context.Context) {
	app := l.app.Load()
	if app == nil {
		return // the first configuration does not run yet
	}
	for _, t := range l.following() {
		if !app.auditLogger.Core().Enabled(zapcore.InfoLevel) {
			if last, err := lastOf(ctx, t.trail); err == nil {
				t.at.Store(last)
			}
			continue
		}
		// A damaged entry is left out; verifying the trail tells of it.
		_ = t.trail.Trail(ctx, t.at.Load(), func(e *audit.Entry) bool {
			if app = l.app.Load(); ctx.Err() == nil {
				app.auditLog(t.name, e)
				t.at.Store(e.Seq)
			}
			return ctx.Err() == nil
		})
	}
}

// lastOf is the number of the newest entry of a trail.
func lastOf(ctx context.Context, trail audit.Trail) (seq uint64, err error) {
	err = trail.TrailBack(ctx, 0, func(e *audit.Entry) bool {
		seq = e.Seq
		return false
	})
	return seq, err
}

// behind is how many entries are not logged yet.
func (l *trailLog) behind(ctx context.Context) (n uint64) {
	for _, t := range l.following() {
		if last, err := lastOf(ctx, t.trail); err == nil && last > t.at.Load() {
			n += last - t.at.Load()
		}
	}
	return n
}

// Destruct logs what is left, if the log takes it in time.
func (l *trailLog) Destruct() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.looking.end()
		for _, t := range l.following() {
			if calls, ok := t.trail.(audit.CallTrail); ok {
				_ = calls.FlushOutcomes(ctx)
			}
		}
		l.catchUp(ctx)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	return nil
}
