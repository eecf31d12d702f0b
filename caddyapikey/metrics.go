package caddyapikey

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// metrics is the one collector of the process. Caddy has a registry for each
// configuration; each gets this same collector, so that counters go on over
// reloads. Gauges are about the configuration that runs.
//
// No label takes a value from a request: sites and events are named by the
// configuration and by this package, reasons are constants.
var metrics = newCollector()

type collector struct {
	decisions, keys, credentials, orgs, damaged, revision, age, degraded, generation, useAge, lostCalls, carriers, unwatched *prometheus.Desc

	commits      prometheus.Histogram
	commitErrors *prometheus.CounterVec
}

// eventCounts counts events. They come from two apps, each of which may be there
// without the other.
var eventCounts = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "caddy_api_keys_events_total",
	Help: "Events, by what became of them.",
}, []string{"event", "result"})

func newCollector() *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("caddy_api_keys_"+name, help, labels, nil)
	}
	c := &collector{
		decisions:   desc("decisions_total", "Requests decided about, by site, result and, if refused, reason.", "site", "result", "reason"),
		keys:        desc("keys", "Keys that are not deleted, by state; expired ones are active.", "state"),
		credentials: desc("credentials", "Credentials of these keys, ended ones included."),
		orgs:        desc("orgs", "Orgs."),
		damaged:     desc("damaged_records", "Records that fail their checksum; their keys are refused."),
		revision:    desc("index_revision", "The commit of the store that the index has followed to."),
		age:         desc("index_age_seconds", "Time since the store last proved that nothing is newer than the index."),
		degraded:    desc("degraded", "1 for each reason for which health is degraded now.", "reason"),
		useAge:      desc("use_age_seconds", "Time since the record of use was written to last, or found nothing to write."),
		lostCalls:   desc("calls_lost_total", "Calls that are not in the list of calls because too many came at once; they are counted nevertheless."),
		unwatched:   desc("anomaly_forgotten_total", "Times that a key's use was forgotten while it was looked at for anomalies, because too many keys were in use."),
		carriers:    desc("limit_carriers", "Keys, and orgs, of which it is counted what they spend of their limits.", "kind"),
		generation:  desc("config_generation", "How many configurations with API keys the process has started."),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "caddy_api_keys_store_commit_duration_seconds",
			Help:    "How long the store took for each change, refused ones included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}),
		commitErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_api_keys_store_commit_errors_total",
			Help: "Changes that failed by a fault of the store.",
		}, []string{"error"}),
	}
	for _, e := range commitFaults {
		c.commitErrors.WithLabelValues(e.name)
	}
	for _, name := range []string{eventRefused, eventExposed, eventEnding, eventNewAddress, eventAuditDown, eventLimit, eventAnomaly} {
		for _, result := range []string{eventEmitted, eventSuppressed, eventDropped, eventPanicked} {
			eventCounts.WithLabelValues(name, result)
		}
	}
	return c
}

// commitFaults are the errors of a commit that are the store's fault.
var commitFaults = []struct {
	err  error
	name string
}{
	{keyring.ErrUncertain, "uncertain"},
	{keyring.ErrFull, "full"},
	{keyring.ErrDamaged, "damaged"},
	{keyring.ErrUnavailable, "unavailable"},
}

// committed is what a keyring tells of each change.
func (c *collector) committed(took time.Duration, err error) {
	c.commits.Observe(took.Seconds())
	for _, e := range commitFaults {
		if errors.Is(err, e.err) {
			c.commitErrors.WithLabelValues(e.name).Inc()
			return
		}
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.decisions, c.keys, c.credentials, c.orgs, c.damaged, c.revision, c.age, c.degraded, c.generation, c.useAge, c.lostCalls, c.carriers, c.unwatched} {
		out <- d
	}
	c.commits.Describe(out)
	c.commitErrors.Describe(out)
	anomalyCounts.Describe(out)
	auditMetrics.Describe(out)
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, s := range sites.all() {
		c.collectSite(out, s)
	}
	c.commits.Collect(out)
	c.commitErrors.Collect(out)
	anomalyCounts.Collect(out)
	auditMetrics.Collect(out)

	app := activeApp()
	if app == nil {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(c.generation, float64(app.generation.Load()))
	kr := app.Keyring()
	if kr == nil {
		return
	}
	stats := kr.Stats()
	gauge(c.keys, float64(stats.Active), string(keyring.StateActive))
	gauge(c.keys, float64(stats.Suspended), string(keyring.StateSuspended))
	gauge(c.keys, float64(stats.Revoked), string(keyring.StateRevoked))
	gauge(c.credentials, float64(stats.Credentials))
	gauge(c.orgs, float64(stats.Orgs))
	gauge(c.damaged, float64(stats.Damaged))
	gauge(c.revision, float64(stats.Revision))
	gauge(c.age, stats.Age.Seconds())
	if t := app.limits.Load(); t != nil {
		limitedKeys, limitedOrgs := t.Size()
		gauge(c.carriers, float64(limitedKeys), "key")
		gauge(c.carriers, float64(limitedOrgs), "org")
	}
	now := make(map[string]float64)
	for _, fault := range slices.Concat(kr.Health(), app.Faults()) {
		now[fault.Reason] = 1
	}
	if u := app.use.Load(); u != nil {
		written, _ := u.Health()
		gauge(c.useAge, time.Since(written).Seconds())
		out <- prometheus.MustNewConstMetric(c.lostCalls, prometheus.CounterValue, float64(u.Lost()))
		out <- prometheus.MustNewConstMetric(c.unwatched, prometheus.CounterValue, float64(u.watch.Forgotten()))
		auditMetrics.collectRecord(out, u)
	}
	for _, reason := range append(slices.Clip(keyring.FaultReasons), faultUse, faultAudit, faultQuotas, faultDeny, faultTiers) {
		gauge(c.degraded, now[reason], reason)
	}
}

func (c *collector) collectSite(out chan<- prometheus.Metric, s *site) {
	count := func(n *atomic.Uint64, result, reason string) {
		out <- prometheus.MustNewConstMetric(c.decisions, prometheus.CounterValue, float64(n.Load()), s.name, result, reason)
	}
	count(&s.allowed, "allowed", "")
	count(&s.public, "public", "")
	count(&s.anonymous, "anonymous", "")
	count(&s.preflight, "preflight", "")
	for result, counts := range map[string]*reasonCounts{"refused": &s.refused, "observed": &s.observed} {
		counts.counts.Range(func(why, n any) bool {
			count(n.(*atomic.Uint64), result, why.(*refusal).reason)
			return true
		})
	}
}

// activeApp returns the app of the configuration that runs now, nil if it has
// none.
func activeApp() *App {
	running, err := caddy.ActiveContext().AppIfConfigured("api_keys")
	if err != nil {
		return nil
	}
	app, _ := running.(*App)
	return app
}
