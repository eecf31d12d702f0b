package caddyapikey

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/redact"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App holds the keys that every api_key handler of the configuration asks, and
// that the admin API changes. It runs with its defaults when a handler is
// configured without it.
//
// The store is opened when the configuration starts, never while it is only
// validated. Configurations that name the same store share it, with the
// in-memory index, so a reload neither opens the file twice nor loses a change.
type App struct {
	// Where keys are kept. Default: `bolt`, a file in Caddy's data directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=api_keys.stores inline_key=module"`

	// The master keys that seal shared secrets, as placeholders such as
	// `{file./run/secrets/api_keys}`: each is 32 random bytes in base64 or hex.
	// The first seals, all open, so that one can be replaced. Tokens and public
	// keys need none. Default: a file beside the store, made once.
	MasterKeys []string `json:"master_key,omitempty"`

	// What new tokens begin with: 1 to 16 letters, digits or inner underscores.
	// Tokens made with another prefix stay valid. Default: `ck`.
	Prefix string `json:"token_prefix,omitempty"`

	// Named sets of scopes that keys may hold beside their own.
	Roles map[string][]string `json:"roles,omitempty"`

	// Limits of the keys and orgs of a tier, by its name.
	Tiers map[string]*Tier `json:"tiers,omitempty"`

	// How long records of use are kept.
	Retain *Retain `json:"retain,omitempty"`

	// How long before the end of a key or credential its answers say so, by
	// Deprecation and Sunset, and events are emitted. Negative: never; the old
	// credential of a rotation says so always. Default: 7 days.
	ExpiryWarning caddy.Duration `json:"expiry_warning,omitempty"`

	// Whoever ends a key or credential that was used so lately is asked to
	// confirm it. Negative: never. Default: 24 hours.
	RecentUse caddy.Duration `json:"recent_use,omitempty"`

	// An event tells of keys that were not used for so long. Negative: none.
	// Default: 90 days.
	UnusedAfter caddy.Duration `json:"unused_after,omitempty"`

	// What use of a key is unusual: an event tells of it, and the key can be
	// suspended. Default: nothing is.
	Anomaly *Anomaly `json:"anomaly,omitempty"`

	// Client addresses that every api_key handler refuses before it looks at
	// anything else.
	Deny *Deny `json:"deny,omitempty"`

	ctx          caddy.Context
	denied       *denied
	denyFiles    []denyUse   // to be given back
	denyShrinks  atomic.Bool // those that may shrink do
	denyReleased bool
	registry     *prometheus.Registry // of the configuration's metrics

	store  storeOpener
	roles  keyring.Roles
	tiers  map[string]tierLimits
	logger *zap.Logger

	// Tiers with limits that an earlier configuration of this process defined, and
	// this one does not, though keys or orgs name them.
	lostTiers atomic.Pointer[map[string]bool]

	announcer   *announcer
	generation  atomic.Uint64 // which of the configurations that were started
	keysInQuery atomic.Bool   // a handler reads keys from the query
	audits      atomic.Bool   // a rule has calls recorded before they are served

	serverLogger *zap.Logger // of Caddy's server
	guarded      []*guardedServer

	askingLimiters []caddy.Module // rate limit handlers that match by the key

	held       bool // a reference of the pool is ours to give back
	keyring    atomic.Pointer[keyring.Keyring]
	sealer     atomic.Pointer[keyring.Sealer]
	rings      []*nonces     // for each window that a handler has
	leftWindow time.Duration // the longest of those that were left in files
	use        atomic.Pointer[useRecord]
	limits     atomic.Pointer[limitTable]

	auditLogger *zap.Logger // of the entries of both trails
	trailLog    *trailLog

	handlers []sitedHandler
	steward  *steward // nil until Start
}

// Retain is how long records of use are kept; zero keeps the default.
type Retain struct {
	// Counters. Default: 400 days.
	Usage caddy.Duration `json:"usage,omitempty"`
	// The last calls of each key. Default: 30 days.
	Calls caddy.Duration `json:"calls,omitempty"`
	// How many those are. Default: 200.
	LastCalls int `json:"last_calls,omitempty"`
	// What was changed, and calls under rules with audit. Default: 5 years.
	Audit caddy.Duration `json:"audit,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "api_keys",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision checks the configuration. It touches no store, except to share one
// that is open in this process already.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = ctx.Logger()
	a.serverLogger = ctx.Logger(httpModule)
	a.auditLogger = a.serverLogger.Named(auditLogName)
	if a.Prefix == "" {
		a.Prefix = keyring.DefaultTokenPrefix
	}
	if err := keyring.ValidateTokenPrefix(a.Prefix); err != nil {
		return err
	}
	err := learnNames(redact.Names{Prefixes: []string{a.Prefix}})
	if err != nil {
		return err
	}
	if a.roles, err = keyring.NewRoles(a.Roles); err != nil {
		return err
	}
	if err := a.provisionTiers(); err != nil {
		return err
	}
	if a.StoreRaw == nil {
		a.StoreRaw = json.RawMessage(`{"module":"bolt"}`)
	}
	a.registry = ctx.GetMetricsRegistry()
	if a.denied, err = a.compileDeny(a.Deny); err != nil {
		return err
	}
	store, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return fmt.Errorf("loading the store: %v", err)
	}
	a.store = store.(storeOpener)
	sealer, err := a.configuredSealer()
	if err != nil {
		return err
	}
	if a.announcer, err = newAnnouncer(ctx, a.logger, a.keepAnew); err != nil {
		return err
	}
	if err := ctx.GetMetricsRegistry().Register(metrics); err != nil {
		return err
	}
	a.sealer.Store(sealer)
	if err := a.provisionRecords(); err != nil {
		return err
	}
	// On a reload requests may come in before Start: apps start in no order.
	if kr := shareOpenKeyring(a.store); kr != nil {
		a.hold(kr)
		a.shareUseRecord()
		a.shareLimits()
		return a.useMasterKey(kr)
	}
	return nil
}

// Keyring returns the keys, or nil while they are not open.
func (a *App) Keyring() *keyring.Keyring {
	if kr := a.keyring.Load(); kr != nil && !kr.Closed() {
		return kr
	}
	return nil
}

// Sealer returns what seals shared secrets, nil if there is no master key.
func (a *App) Sealer() *keyring.Sealer { return a.sealer.Load() }

// TokenPrefix returns what new tokens begin with.
func (a *App) TokenPrefix() string { return a.Prefix }

// HasRole reports whether the configuration defines a role.
func (a *App) HasRole(name string) bool { return a.roles.Has(name) }

// KeysInQuery reports whether a site reads keys from the query.
func (a *App) KeysInQuery() bool { return a.keysInQuery.Load() }

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
