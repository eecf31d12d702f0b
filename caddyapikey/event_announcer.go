package caddyapikey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// eventRefused and eventLockout are the events that callers cause; the others
// are about changes, and come from the admin API.
const eventRefused = "api_key_refused"

// eventExposed stands in for eventRefused where a secret that must not travel
// has travelled: it may have been seen, and should be rotated.
const eventExposed = "api_key_exposed"

// What becomes of an event; labels of a metric.
const (
	eventEmitted    = "emitted"
	eventSuppressed = "suppressed" // one of its kind was emitted a moment ago
	eventDropped    = "dropped"    // handlers are too slow, or the server is stopping
	eventPanicked   = "panicked"
)

// Bounds of what waits for slow handlers, and of how long a stopping
// configuration waits for them.
const (
	maxWaitingChanges  = 1024
	maxWaitingRefusals = 256
	stopWait           = time.Second
)

// announcer hands events to the event handlers of one configuration. Caddy runs
// handlers in the goroutine that emits: here that is one of the announcer's own,
// so that neither a request nor an answer of the admin API ever waits for one,
// or suffers if it fails.
type announcer struct {
	ctx    caddy.Context
	events *caddyevents.App
	logger *zap.Logger

	changes  chan event // emitted before refusals
	refusals chan event

	running atomic.Bool   // the event handlers are all there
	started chan struct{} // closed when running is set
	onStart func()        // called before

	mu     sync.Mutex
	begun  bool
	closed bool
	stop   chan struct{}
	done   chan struct{}
}

type event struct {
	name string
	data map[string]any
}

func newAnnouncer(ctx caddy.Context, logger *zap.Logger, onStart func()) (*announcer, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	origin, err := newEventOrigin(ctx)
	if err != nil {
		return nil, err
	}
	var already prometheus.AlreadyRegisteredError
	if err := ctx.GetMetricsRegistry().Register(eventCounts); err != nil && !errors.As(err, &already) {
		return nil, err
	}
	n := &announcer{
		ctx:      origin,
		events:   app.(*caddyevents.App),
		logger:   logger,
		changes:  make(chan event, maxWaitingChanges),
		refusals: make(chan event, maxWaitingRefusals),
		started:  make(chan struct{}),
		onStart:  onStart,
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	// Requests may come in before the events app has its handlers together:
	// apps start in no order. Caddy says so when all are there.
	return n, n.events.On("started", startHandler{n})
}

// startHandler waits for Caddy's own event "started".
type startHandler struct{ n *announcer }

// Handle implements caddyevents.Handler.
func (h startHandler) Handle(context.Context, caddy.Event) error {
	if h.n.running.CompareAndSwap(false, true) {
		h.n.onStart()
		close(h.n.started)
	}
	return nil
}

// begin starts the goroutine.
func (n *announcer) begin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.begun = true
	go n.run()
}

// end has everything emitted that waits, if that does not take long. It may be
// called more than once, and without begin.
func (n *announcer) end() {
	n.mu.Lock()
	first, begun := !n.closed, n.begun
	n.closed = true
	n.mu.Unlock()
	if !first || !begun {
		return
	}
	close(n.stop)
	timer := time.NewTimer(stopWait)
	defer timer.Stop()
	select {
	case <-n.done:
	case <-timer.C:
		n.logger.Warn("event handlers are still busy; events that wait for them are dropped",
			zap.Int("waiting", len(n.changes)+len(n.refusals)))
	}
}

func (n *announcer) run() {
	defer close(n.done)
	select {
	case <-n.started:
	case <-n.stop: // the configuration never ran
		return
	}
	for {
		select {
		case e := <-n.changes:
			n.emit(e)
			continue
		default:
		}
		select {
		case e := <-n.changes:
			n.emit(e)
		case e := <-n.refusals:
			n.emit(e)
		case <-n.stop:
			n.drain()
			return
		}
	}
}

// drain emits what waits. Nothing comes in any more.
func (n *announcer) drain() {
	for len(n.changes) > 0 {
		n.emit(<-n.changes)
	}
	for len(n.refusals) > 0 {
		n.emit(<-n.refusals)
	}
}

func (n *announcer) emit(e event) {
	if n.ctx.Err() != nil { // the configuration is gone, its handlers with it
		n.drop(e)
		return
	}
	defer func() {
		if p := recover(); p != nil {
			eventCounts.WithLabelValues(e.name, eventPanicked).Inc()
			n.logger.Error("an event handler panicked", zap.String("event", e.name), zap.String("panic", fmt.Sprint(p)))
		}
	}()
	n.events.Emit(n.ctx, e.name, e.data) // an abort is about the event, nothing else
	eventCounts.WithLabelValues(e.name, eventEmitted).Inc()
}

func (n *announcer) drop(e event) {
	eventCounts.WithLabelValues(e.name, eventDropped).Inc()
	if e.name != eventRefused && e.name != eventLockout && e.name != eventEnding && e.name != eventLimit {
		n.logger.Error("event dropped: event handlers are too slow, or the server is stopping",
			zap.String("event", e.name), zap.Any("data", e.data))
	}
}

// wanted reports whether anybody would notice an event of this name.
func (n *announcer) wanted(name string) bool {
	return !n.running.Load() || n.events.ShouldEmit(name)
}

// offer takes an event unless the announcer has ended. It never waits: what
// does not fit is dropped.
func (n *announcer) offer(queue chan event, e event) (taken bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	select {
	case queue <- e:
	default:
		n.drop(e)
	}
	return true
}

// Emit tells event handlers of a change that is durable. It does not wait for
// them. An app that was stopped meanwhile leaves it to the one that runs.
func (a *App) Emit(name string, data map[string]any) {
	e := event{name, data}
	for _, app := range []*App{a, activeApp()} {
		if app == nil {
			continue
		}
		if !app.announcer.wanted(name) || app.announcer.offer(app.announcer.changes, e) {
			return
		}
	}
	a.announcer.drop(e)
}

// refused tells event handlers of a key that was refused. The caller has proven
// a credential of it: strangers cause no events.
func (n *announcer) refused(r *http.Request, d *decision, site, mode string) {
	if !n.wanted(eventRefused) && !n.wanted(eventExposed) {
		return
	}
	addr, _ := clientAddr(r)
	id := d.key.ID()
	suppressed, ok := refusalEvents.admit(refusalKind{id, d.why, prefixOf(addr)}, time.Now())
	if !ok {
		eventCounts.WithLabelValues(eventRefused, eventSuppressed).Inc()
		return
	}
	name := eventRefused
	if d.why == exposedKey {
		name = eventExposed
	}
	e := event{name, map[string]any{
		"id":         id,
		"name":       d.key.Name(),
		"org":        d.key.Org(),
		"credential": d.key.Credential(),
		"reason":     d.why.reason,
		"status":     d.why.status,
		"mode":       mode,
		"site":       site,
		"client":     textOf(addr),
		"suppressed": suppressed,
	}}
	if !n.offer(n.refusals, e) {
		n.drop(e)
	}
}
