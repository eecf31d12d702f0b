package caddyapikey

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-apikey/caddy-apikey/lockout"
)

// lockoutMetrics is the collector of all lockouts of the process, as metrics is
// of the sites. Labels are names of the configuration and what its rules count.
var lockoutMetrics = newLockoutCollector()

type lockoutCollector struct {
	refused, outcomes, unknown, locks, saveErrors *prometheus.CounterVec

	locked, counters, displaced, uncounted, unlocked *prometheus.Desc
}

func newLockoutCollector() *lockoutCollector {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caddy_api_keys_lockout_" + name, Help: help}, append([]string{"lockout"}, labels...))
	}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("caddy_api_keys_lockout_"+name, help, []string{"lockout"}, nil)
	}
	return &lockoutCollector{
		refused:    counter("refused_total", "Requests of locked addresses that were refused."),
		outcomes:   counter("outcomes_total", "Refusals and errors that were counted, by what they were.", "on"),
		unknown:    counter("unknown_total", "Refusals and errors that were not counted, because the client's address is not known."),
		locks:      counter("locks_total", "Locks that began, by what was counted; manual for those by hand.", "on"),
		saveErrors: counter("save_errors_total", "Times that the locks could not be saved."),
		locked:     desc("locked", "Prefixes that are locked now."),
		counters:   desc("counters", "Counters in use."),
		displaced:  desc("displaced_total", "Counters that gave their place to another address."),
		uncounted:  desc("uncounted_total", "Refusals and errors that there was no place to count in."),
		unlocked:   desc("unlocked_total", "Refusals and errors after which there was no room for a lock."),
	}
}

func (c *lockoutCollector) vectors() []*prometheus.CounterVec {
	return []*prometheus.CounterVec{c.refused, c.outcomes, c.unknown, c.locks, c.saveErrors}
}

// Describe implements prometheus.Collector.
func (c *lockoutCollector) Describe(out chan<- *prometheus.Desc) {
	for _, v := range c.vectors() {
		v.Describe(out)
	}
	for _, d := range []*prometheus.Desc{c.locked, c.counters, c.displaced, c.uncounted, c.unlocked} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *lockoutCollector) Collect(out chan<- prometheus.Metric) {
	for _, v := range c.vectors() {
		v.Collect(out)
	}
	all := make(map[string]lockout.Stats)
	lockoutTables.Range(func(name, value any) bool {
		label, stats := lockoutLabels.of(name.(string)), value.(*lockoutTable).Stats()
		sum := all[label]
		sum.Locked += stats.Locked
		sum.Counters += stats.Counters
		sum.Displaced += stats.Displaced
		sum.Uncounted += stats.Uncounted
		sum.Unlocked += stats.Unlocked
		all[label] = sum
		return true
	})
	for label, stats := range all {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64) {
			out <- prometheus.MustNewConstMetric(d, kind, value, label)
		}
		send(c.locked, prometheus.GaugeValue, float64(stats.Locked))
		send(c.counters, prometheus.GaugeValue, float64(stats.Counters))
		send(c.displaced, prometheus.CounterValue, float64(stats.Displaced))
		send(c.uncounted, prometheus.CounterValue, float64(stats.Uncounted))
		send(c.unlocked, prometheus.CounterValue, float64(stats.Unlocked))
	}
}

// lockoutLabels bounds the names that are counted apart, as maxSites does.
var lockoutLabels labelTable

type labelTable struct {
	mu    sync.Mutex
	known map[string]bool
}

func (t *labelTable) of(name string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[name] {
		return name
	}
	if len(t.known) >= maxSites {
		return otherSites
	}
	if t.known == nil {
		t.known = make(map[string]bool)
	}
	t.known[name] = true
	return name
}

// lockoutCounts are the counters of one lockout.
type lockoutCounts struct {
	refused, unknown, locksByHand prometheus.Counter
	outcomes, locks               map[lockout.Outcome]prometheus.Counter
}

func newLockoutCounts(name string, rules []lockout.Rule) *lockoutCounts {
	label := lockoutLabels.of(name)
	c := &lockoutCounts{
		refused:     lockoutMetrics.refused.WithLabelValues(label),
		unknown:     lockoutMetrics.unknown.WithLabelValues(label),
		locksByHand: lockoutMetrics.locks.WithLabelValues(label, "manual"),
		outcomes:    make(map[lockout.Outcome]prometheus.Counter),
		locks:       make(map[lockout.Outcome]prometheus.Counter),
	}
	lockoutMetrics.saveErrors.WithLabelValues(label)
	for _, r := range rules {
		c.outcomes[r.On] = lockoutMetrics.outcomes.WithLabelValues(label, r.On.String())
		c.locks[r.On] = lockoutMetrics.locks.WithLabelValues(label, r.On.String())
	}
	return c
}
