package adminapi

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
	"github.com/caddy-apikey/caddy-apikey/lockout"
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

// useRecord is the record of use of every testApp.
type useRecord struct {
	*usage.Recorder
	store usage.Store
}

var testUse atomic.Pointer[useRecord]

var testRoles = func() keyring.Roles {
	roles, err := keyring.NewRoles(map[string][]string{"reader": {"contacts:read", "deals:read"}})
	if err != nil {
		panic(err)
	}
	return roles
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
func (a *testApp) HasTier(name string) bool { return name != "mistyped" }
func (a *testApp) KeysInQuery() bool        { return false }

func (a *testApp) UseRecord(ctx context.Context) (usage.Store, error) {
	u := testUse.Load()
	if u == nil {
		return nil, errors.New("no record of use is kept")
	}
	return u.store, u.Flush(ctx)
}

func (a *testApp) FollowCalls(key string) *usage.Follower { return testUse.Load().Follow(key) }
func (a *testApp) Faults() []keyring.Fault                { return nil }
func (a *testApp) ConfirmWithin() time.Duration           { return 24 * time.Hour }
func (a *testApp) RoleGrants() keyring.Roles              { return testRoles }

func (a *testApp) PolicyRules() []usage.Rule {
	return []usage.Rule{
		{Site: "api", Name: "read", Access: "require", Scopes: []string{"contacts:read"}, Data: "contact details"},
		{Site: "api", Name: "write", Access: "require", Scopes: []string{"contacts:write"}, Signed: true},
		{Site: "api", Name: "brand", Access: "require", Templates: []string{"brands/{http.request.uri.path.2}:use"}, Data: "brands"},
		{Site: "api", Name: "health", Access: "public"},
	}
}

func (a *testApp) Emit(string, map[string]any) {}

// testLimits is what every testApp has counted.
var testLimits = limit.New(nil)

func (a *testApp) KeyLimits(id string, own []limit.Limit, tier string) ([]limit.State, error) {
	return testLimits.Look(limit.Carrier{Name: []byte(id), Own: own, Tier: testTiers[tier]}, false)
}

func (a *testApp) OrgLimits(name string, own []limit.Limit, tier string) ([]limit.State, error) {
	return testLimits.Look(limit.Carrier{Name: []byte(name), Own: own, Tier: testTiers[tier]}, true)
}

var testTiers = map[string][]limit.Limit{"gold": {{Amount: 5, Span: 1}, {Amount: 1000, Span: limit.Month}}}

// testLockouts stands for the app of the lockouts.
type testLockouts struct{ guard *lockout.Guard }

func init() { caddy.RegisterModule(new(testLockouts)) }

func (*testLockouts) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "lockouts", New: func() caddy.Module { return new(testLockouts) }}
}

func (a *testLockouts) Start() (err error) {
	a.guard, err = lockout.New(lockout.DefaultLimits).Guard(lockout.Policy{
		Rules: []lockout.Rule{{On: 429, Limit: 1, Window: time.Minute}},
		Lock:  time.Minute, Bits4: 32, Bits6: 64,
	})
	return err
}
func (a *testLockouts) Stop() error                            { return nil }
func (a *testLockouts) Names() []string                        { return []string{"default", "other"} }
func (a *testLockouts) Exempts(_ string, addr netip.Addr) bool { return addr.IsLoopback() }
func (a *testLockouts) Emit(string, map[string]any)            {}
func (a *testLockouts) List(_ string, after netip.Prefix, limit int) ([]lockout.Lock, bool, error) {
	list, more := a.guard.List(after, limit)
	return list, more, nil
}
func (a *testLockouts) Lock(_ string, addr netip.Addr, d time.Duration, reason string) (lockout.Lock, error) {
	return a.guard.Lock(addr, d, reason)
}
func (a *testLockouts) Release(_ string, addr netip.Addr) ([]netip.Prefix, error) {
	return a.guard.Release(addr), nil
}

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

func (s *faultyStore) Apply(ctx context.Context, m []keyring.Mutation, entries []audit.Draft) (keyring.Cursor, error) {
	if err := s.failure(); err != nil && s.after == 0 {
		return keyring.Cursor{}, err
	}
	return s.Store.Apply(ctx, m, entries)
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
