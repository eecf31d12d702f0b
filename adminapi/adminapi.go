package adminapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

func init() {
	caddy.RegisterModule(API{})
}

// root is where the API stands on Caddy's admin endpoint.
const root = "/api_keys/"

// API manages the keys of the running configuration. It has no options: it is
// there wherever Caddy's admin endpoint is, and answers on one that only the
// machine itself or a holder of a client certificate can reach.
type API struct {
	logger *zap.Logger
}

// app is what this package asks of the api_keys app.
type app interface {
	Keyring() *keyring.Keyring // nil while the app is not running
	TokenPrefix() string       // what new tokens begin with
	Sealer() *keyring.Sealer   // what seals shared secrets, nil without a master key
	HasRole(name string) bool  // whether the configuration defines a role
	KeysInQuery() bool         // whether a site reads keys from the query

	// UseRecord returns the record of use with everything counted so far in it.
	UseRecord(ctx context.Context) (usage.Store, error)
	// Faults returns what is wrong beside the keys: with the record of use, with
	// quotas, with deny lists.
	Faults() []keyring.Fault
	// KeyLimits returns how the limits of a key stand that has these of its own
	// and is of this tier; OrgLimits is the same for an org.
	KeyLimits(id string, own []limit.Limit, tier string) ([]limit.State, error)
	OrgLimits(name string, own []limit.Limit, tier string) ([]limit.State, error)
	// HasTier reports whether keys and orgs may be of a tier.
	HasTier(name string) bool
	// FollowCalls returns a follower of a key's calls, nil if there can be none.
	FollowCalls(key string) *usage.Follower
	// ConfirmWithin is how long after its last use to end a credential asks for
	// confirmation; not positive: never.
	ConfirmWithin() time.Duration
	// PolicyRules returns the rules of all sites.
	PolicyRules() []usage.Rule
	// RoleGrants returns the roles of the configuration.
	RoleGrants() keyring.Roles

	emitter
}

type emitter interface {
	// Emit tells event handlers of a change. It does not wait for them.
	Emit(event string, data map[string]any)
}

// CaddyModule returns the Caddy module information.
func (API) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.api_keys",
		New: func() caddy.Module { return new(API) },
	}
}

// Provision sets the logger up. It keeps nothing else of ctx, whose
// configuration may never run.
func (a *API) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger(a)
	return nil
}

// Routes returns the one route of the API; routes.go has what is behind it.
func (a *API) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: root, Handler: caddy.AdminHandlerFunc(a.serve)}}
}

// serve answers a request. It writes refusals itself, as Caddy would turn them
// into another form.
func (a *API) serve(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	c := &call{w: &answer{w}, r: r, logger: a.logger}
	if err := c.answer(); err != nil {
		c.refuse(err)
	}
	return nil
}

// call is one request on its way through the API.
type call struct {
	w      *answer
	r      *http.Request
	logger *zap.Logger

	vars map[string]string // the variable segments of the path
	app  app
	keys *keyring.Keyring

	lockouts lockouts

	emitter emitter        // the app that tells of a change
	told    map[string]any // what the route's event says; nil: nothing was changed
}

func (c *call) answer() error {
	if err := checkListener(c.r); err != nil {
		return err
	}
	route, vars, err := findRoute(c.r)
	if err != nil {
		return err
	}
	c.vars = vars
	origin, err := c.origin()
	if err != nil {
		return err
	}
	c.r = c.r.WithContext(audit.WithOrigin(c.r.Context(), origin))
	if err := checkQuery(c.r.URL.RawQuery, route.query); err != nil {
		return err
	}
	if err := checkContentType(c.r); err != nil {
		return err
	}
	switch {
	case route.static:
	case route.find != nil:
		err = route.find(c)
	default:
		err = c.findApp()
	}
	if err != nil {
		return err
	}
	if id, ok := vars["id"]; ok {
		if err := checkID(id); err != nil {
			return err
		}
	}
	if err := route.serve(c); err != nil {
		return err
	}
	if route.event != "" && c.told != nil {
		c.announce(route.event)
	}
	return nil
}

// running returns an app of the configuration that is running now, or refuses
// with missing.
func (c *call) running(app string, missing *problem) (any, error) {
	active := caddy.ActiveContext()
	if active.Context == nil { // the first configuration is still starting
		return nil, c.notRunning()
	}
	running, err := active.AppIfConfigured(app)
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, missing
	}
	return running, err
}

// findApp finds the app that has the keys.
func (c *call) findApp() error {
	running, err := c.running("api_keys", refusal(notConfigured, "The running configuration has no API keys. Put an api_key directive into a site, or an api_keys block into the global options, and reload."))
	if err != nil {
		return err
	}
	found, ok := running.(app)
	if !ok {
		return errors.New("the app api_keys of this Caddy is another module")
	}
	c.app, c.emitter = found, found
	if c.keys = found.Keyring(); c.keys == nil {
		return c.notRunning()
	}
	return nil
}

func (c *call) notRunning() error {
	return refusal(notRunning, "The keys are not loaded now: the configuration is starting or stopping. Try again in a moment.")
}

// Interface guards
var (
	_ caddy.Module      = (*API)(nil)
	_ caddy.AdminRouter = (*API)(nil)
	_ caddy.Provisioner = (*API)(nil)
)
