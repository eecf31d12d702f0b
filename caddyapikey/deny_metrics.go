package caddyapikey

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// denyMetrics is the collector of all deny lists of the process, as metrics is of
// the sites. How many requests were denied stands among the decisions of a site.
var denyMetrics = newDenyCollector()

type denyCollector struct {
	replaced, failures *prometheus.CounterVec

	entries, age, stale *prometheus.Desc
}

// denyLabels bounds the files that are counted apart, as maxSites does.
var denyLabels labelTable

func newDenyCollector() *denyCollector {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caddy_api_keys_deny_list_" + name, Help: help}, []string{"file"})
	}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("caddy_api_keys_deny_list_"+name, help, []string{"file"}, nil)
	}
	return &denyCollector{
		replaced: counter("replaced_total", "Times that the file has changed and its list was taken."),
		failures: counter("failures_total", "Times that something became wrong with the file."),
		entries:  desc("entries", "Different entries of the list that is in force."),
		age:      desc("age_seconds", "Time since the file of the list in force was written."),
		stale:    desc("stale", "1 while the file is not good, so that the list in force is an older one."),
	}
}

// Describe implements prometheus.Collector.
func (c *denyCollector) Describe(out chan<- *prometheus.Desc) {
	c.replaced.Describe(out)
	c.failures.Describe(out)
	for _, d := range []*prometheus.Desc{c.entries, c.age, c.stale} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *denyCollector) Collect(out chan<- prometheus.Metric) {
	denyFiles.Range(func(path, value any) bool {
		label, status := denyLabels.of(path.(string)), value.(*denyFile).Status()
		c.replaced.WithLabelValues(label)
		c.failures.WithLabelValues(label)
		if label == otherSites {
			return true // several files, which no gauge can tell of
		}
		gauge := func(d *prometheus.Desc, value float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, label)
		}
		gauge(c.entries, float64(status.Entries))
		gauge(c.age, time.Since(status.Written).Seconds())
		stale := 0.0
		if status.Fault != nil {
			stale = 1
		}
		gauge(c.stale, stale)
		return true
	})
	c.replaced.Collect(out)
	c.failures.Collect(out)
}
