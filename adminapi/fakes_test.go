package adminapi

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// testApp stands for the app of package caddyapikey.
type testApp struct {
	Fail    bool `json:"fail,omitempty"` // to start
	running atomic.Bool
}

// testKeyring is what every running testApp shows, as the real app shares the
// store over configurations.
var testKeyring atomic.Pointer[keyring.Keyring]

// testSealer is the sealer of every testApp.
var testSealer = func() *keyring.Sealer {
	s, err := keyring.NewSealer(keyring.NewMasterKey())
	if err != nil {
		panic(err)
	}
	return s
}()

func init() { caddy.RegisterModule(new(testApp)) }

func (*testApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "api_keys", New: func() caddy.Module { return new(testApp) }}
}

func (a *testApp) Start() error {
	if a.Fail {
		return errors.New("told to fail")
	}
	a.running.Store(true)
	return nil
}
func (a *testApp) Stop() error    { return nil }
func (a *testApp) Cleanup() error { a.running.Store(false); return nil }
func (a *testApp) Keyring() *keyring.Keyring {
	if !a.running.Load() {
		return nil
	}
	return testKeyring.Load()
}
func (a *testApp) TokenPrefix() string      { return "ck" }
func (a *testApp) Sealer() *keyring.Sealer  { return testSealer }
func (a *testApp) HasRole(name string) bool { return name == "reader" }
func (a *testApp) KeysInQuery() bool        { return false }

func (a *testApp) UseRecord(context.Context) (usage.Store, error) { return nil, errors.New("none") }
func (a *testApp) FollowCalls(string) *usage.Follower             { return nil }
func (a *testApp) ConfirmWithin() time.Duration                   { return 0 }
func (a *testApp) PolicyRules() []usage.Rule                      { return nil }
func (a *testApp) RoleGrants() keyring.Roles                      { return nil }

func (a *testApp) Emit(string, map[string]any) {}

// faultyStore fails as it is told.
type faultyStore struct {
	keyring.Store
	fault atomic.Pointer[error] // of Apply, Key and Backup
	after int                   // bytes of a backup before the fault
	wait  time.Duration         // before a backup
}

func (s *faultyStore) failure() error {
	if err := s.fault.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *faultyStore) Apply(ctx context.Context, m []keyring.Mutation) (keyring.Cursor, error) {
	if err := s.failure(); err != nil {
		return keyring.Cursor{}, err
	}
	return s.Store.Apply(ctx, m)
}

func (s *faultyStore) Backup(ctx context.Context, w io.Writer) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.wait):
	}
	if err := s.failure(); err != nil {
		if s.after > 0 {
			_, _ = w.Write(make([]byte, s.after))
		}
		return err
	}
	return s.Store.Backup(ctx, w)
}
