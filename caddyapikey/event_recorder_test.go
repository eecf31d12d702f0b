package caddyapikey_test

import (
	"context"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

func init() { caddy.RegisterModule(eventRecorder{}) }

// eventRecorder is an event handler that keeps what it is told.
type eventRecorder struct{}

func (eventRecorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.api_key_recorder", New: func() caddy.Module { return new(eventRecorder) }}
}

func (*eventRecorder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

type recordedEvent struct {
	name   string
	module string
	data   map[string]any
}

var (
	recordedEvents = make(chan recordedEvent, 10_000)
	// eventReaction is what the handler does once it has recorded an event.
	eventReaction atomic.Pointer[func(ctx context.Context, name string) error]
)

func (*eventRecorder) Handle(ctx context.Context, e caddy.Event) error {
	module := ""
	if e.Origin() != nil {
		module = string(e.Origin().CaddyModule().ID)
	}
	if strings.HasPrefix(e.Name(), "api_key") {
		recordedEvents <- recordedEvent{e.Name(), module, maps.Clone(e.Data)}
	}
	if react := eventReaction.Load(); react != nil {
		return (*react)(ctx, e.Name())
	}
	return nil
}

func react(t *testing.T, reaction func(ctx context.Context, name string) error) {
	eventReaction.Store(&reaction)
	t.Cleanup(func() { eventReaction.Store(nil) })
}

const recording = "events {\non * api_key_recorder\n}\n"

// nextEvent waits for an event.
func nextEvent(t *testing.T) recordedEvent {
	t.Helper()
	select {
	case e := <-recordedEvents:
		return e
	case <-time.After(time.Minute):
		t.Fatal("no event came")
		panic("unreachable")
	}
}

// noEventBefore has a key created and checks that its event is the next one: as
// events keep their order, nothing was told before.
func noEventBefore(t *testing.T, r *rig.Rig) {
	t.Helper()
	id, _ := r.Create(`{"name":"marker"}`)
	if e := nextEvent(t); e.name != "api_key_created" || e.data["id"] != id {
		t.Errorf("an event came that should not: %+v", e)
	}
}
