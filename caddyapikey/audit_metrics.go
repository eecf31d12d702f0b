package caddyapikey

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// auditMetrics counts what became of calls under rules with audit, over all
// sites and configurations of the process.
var auditMetrics = newAuditMetrics()

type auditCollector struct {
	calls                       *prometheus.CounterVec
	recorded, unavailable, gone prometheus.Counter
	wait                        prometheus.Histogram
	lost                        prometheus.Counter

	used, limit, behind *prometheus.Desc
}

func newAuditMetrics() *auditCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("caddy_api_keys_"+name, help, nil, nil)
	}
	c := &auditCollector{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_api_keys_audit_calls_total",
			Help: "Calls under rules with audit that would be served, by what became of their entry.",
		}, []string{"result"}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "caddy_api_keys_audit_wait_seconds",
			Help:    "How long calls waited until they were recorded.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "caddy_api_keys_audit_entries_lost_total",
			Help: "Outcomes and refusals that are not in the trail because too many waited to be written.",
		}),
		used:   desc("record_used_bytes", "How much of the file with the record of use is in use."),
		limit:  desc("record_limit_bytes", "How large that file may get; the trail of calls may take about four fifths of it."),
		behind: desc("audit_log_behind", "Entries of both trails that are not in the log http.log.api_keys.audit yet."),
	}
	c.recorded = c.calls.WithLabelValues("recorded")
	c.unavailable = c.calls.WithLabelValues("unavailable")
	c.gone = c.calls.WithLabelValues("client_gone")
	return c
}

func (c *auditCollector) Describe(out chan<- *prometheus.Desc) {
	c.calls.Describe(out)
	c.wait.Describe(out)
	c.lost.Describe(out)
	out <- c.used
	out <- c.limit
	out <- c.behind
}

func (c *auditCollector) Collect(out chan<- prometheus.Metric) {
	c.calls.Collect(out)
	c.wait.Collect(out)
	c.lost.Collect(out)
}

// collectRecord tells of the record of use that is open.
func (c *auditCollector) collectRecord(out chan<- prometheus.Metric, u *useRecord) {
	gauge := func(d *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	if file, ok := u.store.(interface{ Room() (used, limit int64) }); ok {
		used, limit := file.Room()
		gauge(c.used, float64(used))
		gauge(c.limit, float64(limit))
	}
	if app := activeApp(); app != nil && app.trailLog != nil {
		gauge(c.behind, float64(app.trailLog.behind(context.Background())))
	}
}
