package usage

import (
	"strings"
	"sync"
	"sync/atomic"
)

// maxRoutes bounds the combinations of rules that are told apart over the life
// of the process; requests beyond are counted for their site alone, or for none.
const maxRoutes = 1 << 16

// RouteNo names a Route of one Recorder, and ReasonNo a reason, so that counting
// compares numbers.
type (
	RouteNo  uint32
	ReasonNo uint16
)

// routes numbers the routes. Numbers are never used again.
type routes struct {
	mu     sync.Mutex
	byName map[string]RouteNo
	list   atomic.Pointer[[]Route]
}

func newRoutes() *routes {
	n := &routes{byName: make(map[string]RouteNo)}
	n.list.Store(&[]Route{{}})
	return n
}

func (n *routes) at(no RouteNo) Route { return (*n.list.Load())[no] }

// number returns the number of a route; 0 is that of an unknown one.
func (n *routes) number(r Route) RouteNo {
	name := r.Site + "\x00" + r.Method + "\x00" + strings.Join(r.Rules, "\x00")
	n.mu.Lock()
	defer n.mu.Unlock()
	if no, ok := n.byName[name]; ok {
		return no
	}
	list := *n.list.Load()
	if len(list) >= maxRoutes {
		return 0
	}
	no := RouteNo(len(list))
	list = append(list, r) // readers of the shorter slice do not see it
	n.list.Store(&list)
	n.byName[name] = no
	return no
}

// reasons are all reasons of the process; there are as many as it has constants.
var reasons = reasonTable{byName: map[string]ReasonNo{"": 0}, list: []string{""}}

type reasonTable struct {
	mu     sync.Mutex
	byName map[string]ReasonNo
	list   []string
}

// NumberOf returns the number of a reason; 0 is none.
func NumberOf(reason string) ReasonNo {
	reasons.mu.Lock()
	defer reasons.mu.Unlock()
	no, ok := reasons.byName[reason]
	if !ok {
		no = ReasonNo(len(reasons.list))
		reasons.list = append(reasons.list, reason)
		reasons.byName[reason] = no
	}
	return no
}

func (no ReasonNo) text() string {
	reasons.mu.Lock()
	defer reasons.mu.Unlock()
	return reasons.list[no]
}
