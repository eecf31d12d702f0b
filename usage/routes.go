package usage

import (
	"strings"
	"sync"
	"sync/atomic"
)

// maxRoutes bounds the combinations of rules that are told apart over the life
// of the process; requests beyond are counted for their site alone, or for none.
const maxRoutes = 1 << 16

// RouteNo names a Route of one Recorder, ReasonNo a reason.
type (
	RouteNo  uint32
	ReasonNo uint16
)

// names numbers what repeats, so that counting compares numbers. Numbers are
// never used again.
type names struct {
	mu      sync.Mutex
	byRoute map[string]RouteNo
	routes  atomic.Pointer[[]Route]

	byReason map[string]ReasonNo
	reasons  atomic.Pointer[[]string]
}

func newNames() *names {
	n := &names{byRoute: make(map[string]RouteNo), byReason: map[string]ReasonNo{"": 0}}
	n.routes.Store(&[]Route{{}})
	n.reasons.Store(&[]string{""})
	return n
}

// route returns the number of a route; 0 is that of an unknown one.
func (n *names) route(r Route) RouteNo {
	name := r.Site + "\x00" + strings.Join(r.Rules, "\x00")
	n.mu.Lock()
	defer n.mu.Unlock()
	if no, ok := n.byRoute[name]; ok {
		return no
	}
	list := *n.routes.Load()
	if len(list) >= maxRoutes {
		return 0
	}
	no := RouteNo(len(list))
	list = append(list, r) // readers of the shorter slice do not see it
	n.routes.Store(&list)
	n.byRoute[name] = no
	return no
}

// reason returns the number of a reason. There are as many as a program has
// constants.
func (n *names) reason(reason string) ReasonNo {
	n.mu.Lock()
	defer n.mu.Unlock()
	no, ok := n.byReason[reason]
	if !ok {
		list := *n.reasons.Load()
		no = ReasonNo(len(list))
		list = append(list, reason)
		n.reasons.Store(&list)
		n.byReason[reason] = no
	}
	return no
}
