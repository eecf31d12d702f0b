package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"text/tabwriter"
)

// pair is two servers that get the same requests.
type pair struct {
	name          string
	base, variant string // sites
	status        int    // of the variant's answers
	first, keys   int    // whose tokens the requests carry
	signed        bool   // the requests carry a signature instead

	cost [2][]float64 // µs of processor time for a request, in each round: base, variant
}

// variants lists what is measured. All requests carry a credential, those to
// servers that do not look at it, too: reading a longer request is no cost of ours.
func variants(keys int) []*pair {
	const ok, unauthorized = http.StatusOK, http.StatusUnauthorized
	return []*pair{
		{name: "noise: respond", base: "respond", variant: "respond twin", status: ok, keys: 1},
		{name: "one key, respond", base: "respond", variant: "key, respond", status: ok, keys: 1},
		{name: "all keys in turn, respond", base: "respond", variant: "key, respond", status: ok, keys: keys},
		{name: "unknown keys, 401", base: "respond", variant: "key, respond", status: unauthorized, first: keys, keys: keys},
		{name: "Hawk, respond", base: "respond", variant: "key, respond", status: ok, signed: true},
		{name: "lockout, respond", base: "respond", variant: "lockout", status: ok, keys: 1},
		{name: "lockout, key, org limit, respond", base: "respond", variant: "fewer layers", status: ok, keys: 1},
		{name: "all layers, respond", base: "respond", variant: "layers", status: ok, keys: 1},
		{name: "noise: proxy", base: "proxy", variant: "proxy twin", status: ok, keys: 1},
		{name: "one key, proxy", base: "proxy", variant: "key, proxy", status: ok, keys: 1},
		{name: "all layers, proxy", base: "proxy", variant: "layers, proxy", status: ok, keys: 1},
		{name: "forward_auth, respond", base: "respond", variant: "forward_auth", status: ok, keys: 1},
		{name: "forward_auth, proxy", base: "proxy", variant: "forward, proxy", status: ok, keys: 1},
	}
}

// meter measures servers of this process.
type meter struct {
	client  *peer
	signer  *signedBy
	sites   map[string]string
	options options
}

// round measures every pair once, and records it unless the round is to warm
// up. Who goes first changes from round to round.
func (m *meter) round(ctx context.Context, pairs []*pair, number int, record bool) error {
	for _, p := range pairs {
		var cost [2]float64
		for turn := range 2 {
			if err := ctx.Err(); err != nil {
				return err
			}
			which := (turn + number) % 2
			var err error
			if cost[which], err = m.measure(p, which); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		if record {
			p.cost[0], p.cost[1] = append(p.cost[0], cost[0]), append(p.cost[1], cost[1])
		}
	}
	return nil
}

// measure returns the processor time of a request, in µs.
func (m *meter) measure(p *pair, which int) (float64, error) {
	o := order{m.sites[p.base], http.StatusOK, m.options.slice, m.options.conns, p.first, p.keys, nil}
	if p.signed {
		o.Signed = m.signer
	}
	if which == 1 {
		o.Addr, o.Status = m.sites[p.variant], p.status
	}
	before, err := cpuTime()
	if err != nil {
		return 0, err
	}
	t, err := m.send(o)
	if err != nil {
		return 0, err
	}
	after, err := cpuTime()
	if err != nil {
		return 0, err
	}
	return float64((after - before).Nanoseconds()) / 1000 / float64(t.Requests), nil
}

// send has the client send requests.
func (m *meter) send(o order) (t tally, err error) {
	if err := m.client.in.Encode(o); err != nil {
		return t, err
	}
	if err := m.client.out.Decode(&t); err != nil {
		return t, err
	}
	if t.Err != "" {
		return t, errors.New(t.Err)
	}
	if t.Requests == 0 {
		return t, errors.New("the slice is too short for one request")
	}
	return t, nil
}

// report prints medians over the rounds, of the ratio in a round with the
// interval in which it lies. Slices that other work on the machine disturbed
// widen min..max and move the median little.
func report(out io.Writer, pairs []*pair) error {
	if len(pairs) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tbare µs\tµs/request\tadded µs\tratio\t95 %\tmin..max\t")
	for _, p := range pairs {
		var ratios, added []float64
		for i, base := range p.cost[0] {
			ratios = append(ratios, p.cost[1][i]/base)
			added = append(added, p.cost[1][i]-base)
		}
		low, high := medianInterval(ratios)
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%+.2f\t%.3f\t%.3f..%.3f\t%.3f..%.3f\t\n", p.name,
			quantile(p.cost[0], 0.5), quantile(p.cost[1], 0.5), quantile(added, 0.5), quantile(ratios, 0.5),
			low, high, slices.Min(ratios), slices.Max(ratios))
	}
	return w.Flush()
}

// quantile returns the q-quantile of values, between two of them by proportion.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low == len(sorted)-1 {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// medianInterval returns the 95 % confidence interval of a median, by ranks.
func medianInterval(values []float64) (low, high float64) {
	n := float64(len(values))
	half := 0.98 / math.Sqrt(n)
	return quantile(values, max(0, 0.5-half)), quantile(values, min(1, 0.5+half))
}
