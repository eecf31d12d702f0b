package lockout

import (
	"fmt"
	"net/netip"
	"time"
)

// Outcome is what became of a request: the HTTP status of a refusal or an error, 400 to 599, Refused, or
// Request.
type Outcome uint16

const (
	Refused Outcome = 1 // a credential that was sent and was not accepted
	Request Outcome = 2 // any request, whatever becomes of it; counted before it is served
)

// String returns the status, "refused" or "request".
func (o Outcome) String() string {
	switch o {
	case Refused:
		return "refused"
	case Request:
		return "request"
	}
	return fmt.Sprintf("%d", uint16(o))
}

// Rule locks an address after Limit outcomes within Window; of requests it allows as many, and locks with
// one more.
type Rule struct {
	On     Outcome
	Limit  int
	Window time.Duration
}

// String returns the rule as a Caddyfile has it behind "on".
func (r Rule) String() string {
	return fmt.Sprintf("%s %d in %s", r.On, r.Limit, r.Window)
}

// reached reports whether a number of outcomes locks.
func (r Rule) reached(total int) bool {
	if r.On == Request {
		return total > r.Limit
	}
	return total >= r.Limit
}

// Bounds of a policy.
const (
	MaxRules  = 16
	MaxLimit  = 65535
	MaxWindow = 24 * time.Hour
	MaxLock   = 365 * 24 * time.Hour
)

func (r Rule) validate() error {
	switch {
	case r.On != Refused && r.On != Request && (r.On < 400 || r.On > 599):
		return fmt.Errorf("on %s: count `request`, `refused`, or a status from 400 to 599", r.On)
	case r.On == Request && r.Limit == MaxLimit:
		return fmt.Errorf("on request %d: the number is from 1 to %d", r.Limit, MaxLimit-1) // one more is counted
	case r.Limit < 1 || r.Limit > MaxLimit:
		return fmt.Errorf("on %s %d: the number is from 1 to %d", r.On, r.Limit, MaxLimit)
	case r.Window < time.Second || r.Window > MaxWindow:
		return fmt.Errorf("on %s %d in %s: the time is from 1s to %s", r.On, r.Limit, r.Window, MaxWindow)
	}
	return nil
}

// Policy is what leads to a lock, and how long it lasts.
type Policy struct {
	Rules []Rule

	Lock    time.Duration // the first
	Factor  int           // of each repetition to the lock before; 0 for no growth
	Longest time.Duration // up to which locks grow, and after which they are forgotten

	Bits4, Bits6 int // of the prefixes that are counted together
}

// Validate reports what is wrong with a policy.
func (p Policy) Validate() error {
	if len(p.Rules) == 0 || len(p.Rules) > MaxRules {
		return fmt.Errorf("there are %d rules; write 1 to %d", len(p.Rules), MaxRules)
	}
	for i, r := range p.Rules {
		if err := r.validate(); err != nil {
			return err
		}
		for _, other := range p.Rules[:i] {
			if other.On == r.On && other.Window == r.Window {
				return fmt.Errorf("on %s is given twice for the same time; leave one out", r.On)
			}
		}
	}
	switch {
	case p.Lock < time.Second || p.Lock > MaxLock:
		return fmt.Errorf("lock %s: the time is from 1s to %s", p.Lock, MaxLock)
	case p.Factor != 0 && (p.Factor < 2 || p.Factor > 100):
		return fmt.Errorf("grow %d: the factor is from 2 to 100", p.Factor)
	case p.Factor != 0 && (p.Longest <= p.Lock || p.Longest > MaxLock):
		return fmt.Errorf("grow %d %s: the time is longer than that of lock, and at most %s", p.Factor, p.Longest, MaxLock)
	case p.Bits4 < 8 || p.Bits4 > 32:
		return fmt.Errorf("prefix %d: that of IPv4 is from 8 to 32", p.Bits4)
	case p.Bits6 < 16 || p.Bits6 > 128:
		return fmt.Errorf("prefix %d: that of IPv6 is from 16 to 128", p.Bits6)
	}
	return nil
}

// duration returns how long the nth lock lasts.
func (p *Policy) duration(n uint32) time.Duration {
	d := p.Lock
	for ; n > 1 && p.Factor > 1; n-- {
		if d = d * time.Duration(p.Factor); d >= p.Longest {
			return p.Longest
		}
	}
	return d
}

// prefix returns what an address is counted as.
func (p *Policy) prefix(addr netip.Addr) netip.Prefix {
	bits := p.Bits6
	if addr.Is4() {
		bits = p.Bits4
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}
