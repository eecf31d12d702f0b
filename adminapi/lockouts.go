package adminapi

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/lockout"
)

// lockouts is what this package asks of the app lockouts, which is there
// without keys, too. Every name that is passed to it is one of Names.
type lockouts interface {
	Names() []string // in order
	Exempts(name string, addr netip.Addr) bool
	List(name string, after netip.Prefix, limit int) (list []lockout.Lock, more bool, err error)
	Lock(name string, addr netip.Addr, d time.Duration, reason string) (lockout.Lock, error)
	Release(name string, addr netip.Addr) ([]netip.Prefix, error)
	emitter
}

// findLockouts finds the app that has the locks.
func (c *call) findLockouts() error {
	running, err := c.running("lockouts", refusal(noLockout, "The running configuration has no lockout. Put the directive lockout into a site and reload."))
	if err != nil {
		return err
	}
	found, ok := running.(lockouts)
	if !ok {
		return errors.New("the app lockouts of this Caddy is another module")
	}
	c.lockouts, c.emitter = found, found
	return nil
}

// lockoutInput is the body of POST lockouts.
type lockoutInput struct {
	Address member[text]     `json:"address"`
	For     member[timespan] `json:"for"`
	Reason  member[text]     `json:"reason"`
	Lockout member[text]     `json:"lockout"`
}

// lockView is a lock as answers show it.
type lockView struct {
	Lockout string `json:"lockout"`
	Address string `json:"address"`
	Prefix  string `json:"prefix"`
	On      string `json:"on"`
	Times   int    `json:"times"`
	Reason  string `json:"reason"`
	Since   string `json:"since"`
	Until   string `json:"until"`
}

func viewLock(name string, l lockout.Lock, now time.Time) lockView {
	on := "manual"
	if l.Rule != (lockout.Rule{}) {
		on = l.Rule.On.String()
	}
	return lockView{
		Lockout: name, Address: l.Prefix.Addr().String(), Prefix: l.Prefix.String(),
		On: on, Times: l.Times, Reason: l.Reason,
		Since: viewTime(now.Add(-l.Age)), Until: viewTime(now.Add(l.Remaining)),
	}
}

// listLockouts answers GET lockouts: by name, then by prefix.
func (c *call) listLockouts() error {
	after, limit, err := page(c.r.URL.Query())
	if err != nil {
		return err
	}
	names, err := c.lockoutNames(c.r.URL.Query().Get("lockout"))
	if err != nil {
		return err
	}
	begin, from, err := lockoutPlace(after)
	if err != nil {
		return err
	}
	now := time.Now()
	views, next := []lockView{}, ""
	for _, name := range names {
		if name < begin {
			continue
		}
		if name > begin {
			from = netip.Prefix{}
		}
		if len(views) == limit {
			next = views[limit-1].Lockout + " " + views[limit-1].Prefix
			break
		}
		list, more, err := c.lockouts.List(name, from, limit-len(views))
		if err != nil {
			return err
		}
		for _, l := range list {
			views = append(views, viewLock(name, l, now))
		}
		if more {
			next = name + " " + views[len(views)-1].Prefix
			break
		}
	}
	c.write(http.StatusOK, "application/json", struct {
		Lockouts []lockView `json:"lockouts"`
		Next     *string    `json:"next"`
	}{views, cursor(next)})
	return nil
}

// lockoutPlace reads the place where a list goes on.
func lockoutPlace(after string) (name string, from netip.Prefix, err error) {
	if after == "" {
		return "", from, nil
	}
	name, text, _ := strings.Cut(after, " ")
	if from, err = netip.ParsePrefix(text); err != nil {
		return "", from, badCursor()
	}
	return name, from, nil
}

// lockoutNames returns the lockouts that a request is about: the one that it
// names, or all.
func (c *call) lockoutNames(name string) ([]string, error) {
	names := c.lockouts.Names()
	if name == "" {
		return names, nil
	}
	if !slices.Contains(names, name) {
		return nil, refusal(notFound, "There is no such lockout; there are %s.", strings.Join(names, ", "))
	}
	return []string{name}, nil
}

// maxLockTime bounds locks by hand.
const maxLockTime = lockout.MaxLock

// lock answers POST lockouts.
func (c *call) lock() error {
	var in lockoutInput
	if err := c.decode(&in); err != nil {
		return err
	}
	addr, err := lockoutAddr(string(in.Address.value))
	if err != nil {
		return badField("address", "%v", err)
	}
	d, err := caddy.ParseDuration(string(in.For.value))
	if err != nil || d < time.Second || d > maxLockTime {
		return badField("for", "must be a duration such as \"15m\" or \"7d\", from 1s to %dd", int(maxLockTime.Hours()/24))
	}
	reason := string(in.Reason.value)
	if len(reason) > lockout.MaxReason || strings.ContainsFunc(reason, isControl) {
		return badField("reason", "must be printable text of up to %d bytes", lockout.MaxReason)
	}
	if keyring.HoldsToken(reason) {
		return badField("reason", "holds an API key, which would be kept and shown in clear; leave it out")
	}
	names, err := c.lockoutNames(string(in.Lockout.value))
	if err != nil {
		return err
	}
	if names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return c.lockouts.Exempts(name, addr) }); len(names) == 0 {
		return refusal(wrongState, "The address is exempt in the configuration, so that a lock would have no effect.")
	}
	now := time.Now()
	var views []lockView
	for _, name := range names {
		l, err := c.lockouts.Lock(name, addr, d, reason)
		if errors.Is(err, lockout.ErrFull) {
			return refusal(lockoutsFull, "There is no room for another lock in %s.", name)
		}
		if err != nil {
			return err
		}
		views = append(views, viewLock(name, l, now))
	}
	c.told = map[string]any{
		"lockout": strings.Join(names, " "), "prefix": views[0].Prefix, "on": "manual", "times": views[0].Times,
		"seconds": int64(d / time.Second), "reason": reason, "suppressed": uint64(0),
	}
	c.write(http.StatusOK, "application/json", struct {
		Lockouts []lockView `json:"lockouts"`
	}{views})
	return nil
}

// unlock answers DELETE lockouts/{address}.
func (c *call) unlock() error {
	if err := c.noBody(); err != nil {
		return err
	}
	addr, err := lockoutAddr(c.vars["address"])
	if err != nil {
		return refusal(notFound, "The path ends in an address: it %v.", err)
	}
	names, err := c.lockoutNames(c.r.URL.Query().Get("lockout"))
	if err != nil {
		return err
	}
	var released []string
	for _, name := range names {
		prefixes, err := c.lockouts.Release(name, addr)
		if err != nil {
			return err
		}
		if len(prefixes) > 0 {
			released = append(released, name)
		}
	}
	if released == nil {
		return refusal(notFound, "The address is not locked.")
	}
	c.told = map[string]any{"lockout": strings.Join(released, " "), "address": addr.String()}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// lockoutAddr reads an address in any of its spellings.
func lockoutAddr(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, errors.New("must be one address, such as 203.0.113.7 or 2001:db8::1, without a prefix length or a zone; its whole prefix is meant")
	}
	return addr.Unmap(), nil
}

func isControl(c rune) bool { return c < ' ' || c >= 0x7f && c < 0xa0 }
