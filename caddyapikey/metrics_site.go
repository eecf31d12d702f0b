package caddyapikey

import (
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

var siteNamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func checkSiteName(name string) error {
	if !siteNamePattern.MatchString(name) {
		return fmt.Errorf("name %q: write up to 64 letters, digits and . _ -, beginning with a letter or digit", name)
	}
	return nil
}

// site counts the decisions of all handlers of one name, for as long as the
// process lives: a reload does not reset counters.
type site struct {
	name string

	allowed   atomic.Uint64 // with a key
	public    atomic.Uint64
	anonymous atomic.Uint64 // without a key, where it is optional
	preflight atomic.Uint64 // answered here
	refused   reasonCounts
	observed  reasonCounts // would have been refused
}

// reasonCounts counts by *refusal. All refusals are constants of this package,
// so that it does not grow with what callers send.
type reasonCounts struct{ counts sync.Map }

func (c *reasonCounts) add(why *refusal) {
	count, ok := c.counts.Load(why)
	if !ok {
		count, _ = c.counts.LoadOrStore(why, new(atomic.Uint64))
	}
	count.(*atomic.Uint64).Add(1)
}

func (s *site) count(d *decision, enforced bool) {
	switch {
	case d.why != nil && enforced:
		s.refused.add(d.why)
	case d.why != nil:
		s.observed.add(d.why)
	case d.public:
		s.public.Add(1)
	case d.key.IsZero():
		s.anonymous.Add(1)
	default:
		s.allowed.Add(1)
	}
}

// maxSites bounds the names that are counted apart, over all configurations
// that the process has had. Later ones are counted as otherSites.
const (
	maxSites   = 1000
	otherSites = "_other"
)

// sites has the counters of the process by name.
var sites siteTable

type siteTable struct {
	mu     sync.Mutex
	byName map[string]*site
}

func (t *siteTable) get(name string) *site {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byName[name] == nil && len(t.byName) >= maxSites {
		name = otherSites
	}
	s := t.byName[name]
	if s == nil {
		if t.byName == nil {
			t.byName = make(map[string]*site)
		}
		s = &site{name: name}
		t.byName[name] = s
	}
	return s
}

func (t *siteTable) all() []*site {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*site, 0, len(t.byName))
	for _, s := range t.byName {
		list = append(list, s)
	}
	return list
}

// place is where a handler stands. It is found with the first request: a
// handler belongs to one server, but is not told which when it is provisioned.
type place struct {
	site   *site
	logged bool // the server writes an access log
	routes routeNumbers
}

// siteName is what a handler's site is called.
func siteName(configured string, server *caddyhttp.Server) string {
	switch {
	case configured != "":
		return configured
	case server != nil && server.Name() != "":
		return server.Name()
	}
	return "unknown"
}

func (h *Handler) placeOf(r *http.Request) *place {
	if p := h.place.Load(); p != nil {
		return p
	}
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	p := &place{site: sites.get(siteName(h.Name, server)), logged: server != nil && server.Logs != nil}
	h.place.Store(p)
	return p
}
