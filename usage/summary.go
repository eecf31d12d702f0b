package usage

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

// Tally adds up counters.
type Tally struct {
	Requests uint64
	Refused  uint64 // of these
	Observed uint64 // would have been refused, but for mode observe
	Statuses [6]uint64
	Bytes    uint64
	First    time.Time
	Last     time.Time
	FirstIn  time.Time // of those that were let in
	LastIn   time.Time
	LastOut  time.Time // of those that were refused
}

// Add adds a counter.
func (t *Tally) Add(c *Counter) {
	t.Requests += c.Requests
	switch {
	case c.Reason == "":
	case c.Observed:
		t.Observed += c.Requests
	default:
		t.Refused += c.Requests
	}
	for i, n := range c.Statuses {
		t.Statuses[i] += n
	}
	t.Bytes += c.Bytes
	widen(&t.First, &t.Last, c)
	if c.Reason == "" || c.Observed {
		widen(&t.FirstIn, &t.LastIn, c)
	} else if c.Last.After(t.LastOut) {
		t.LastOut = c.Last
	}
}

func widen(first, last *time.Time, c *Counter) {
	if !c.First.IsZero() && (first.IsZero() || c.First.Before(*first)) {
		*first = c.First
	}
	if c.Last.After(*last) {
		*last = c.Last
	}
}

// RuleName is a rule of a site; Rule is "" for what met no rule.
type RuleName struct{ Site, Rule string }

// RouteName is a rule of a site and a method.
type RouteName struct {
	RuleName
	Method string
}

// Refusal is why something was refused, or would have been.
type Refusal struct {
	RuleName
	Reason   string
	Observed bool
}

// CredentialName is a credential of a key.
type CredentialName struct {
	Key string
	N   uint32
}

// Summary adds up counters in several ways. Each request counts once in every
// one of them, except that it counts for each rule that it met.
type Summary struct {
	Tally
	Credentials map[CredentialName]*Tally
	Rules       map[RuleName]*Tally
	Routes      map[RouteName]*Tally
	Places      map[Place]*Tally
	Refusals    map[Refusal]*Tally
	Days        map[time.Time]*Tally // by the day's beginning, UTC
}

// Summarize adds up the counters that q chooses, less those that keep, if it is
// not nil, does not want.
func Summarize(ctx context.Context, store Store, q Query, keep func(*Counter) bool) (*Summary, error) {
	s := &Summary{
		Credentials: make(map[CredentialName]*Tally),
		Rules:       make(map[RuleName]*Tally),
		Routes:      make(map[RouteName]*Tally),
		Places:      make(map[Place]*Tally),
		Refusals:    make(map[Refusal]*Tally),
		Days:        make(map[time.Time]*Tally),
	}
	err := store.Counters(ctx, q, func(c *Counter) bool {
		if keep == nil || keep(c) {
			s.add(c)
		}
		return ctx.Err() == nil
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Summary) add(c *Counter) {
	s.Tally.Add(c)
	tallyOf(s.Credentials, CredentialName{c.Key, c.Credential}).Add(c)
	tallyOf(s.Places, c.Place).Add(c)
	tallyOf(s.Days, c.Hour.UTC().Truncate(24*time.Hour)).Add(c)
	rules := c.Route.Rules
	if len(rules) == 0 {
		rules = noRules
	}
	for _, rule := range rules {
		name := RuleName{c.Route.Site, rule}
		tallyOf(s.Rules, name).Add(c)
		tallyOf(s.Routes, RouteName{name, c.Route.Method}).Add(c)
		if c.Reason != "" {
			tallyOf(s.Refusals, Refusal{name, c.Reason, c.Observed}).Add(c)
		}
	}
}

var noRules = []string{""}

func tallyOf[K comparable](m map[K]*Tally, k K) *Tally {
	t := m[k]
	if t == nil {
		t = new(Tally)
		m[k] = t
	}
	return t
}

// ByLast returns the names of a part of a Summary, the last used first, those of
// the same time in the order of less.
func ByLast[K comparable](m map[K]*Tally, compare func(a, b K) int) []K {
	names := slices.Collect(maps.Keys(m))
	slices.SortFunc(names, func(a, b K) int {
		return cmp.Or(m[b].Last.Compare(m[a].Last), compare(a, b))
	})
	return names
}
