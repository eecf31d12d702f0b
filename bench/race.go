package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"text/tabwriter"
)

// race is two servers that answer the same callers as fast as they can, each of
// whom waits for an answer before the next call. It shows what waits, such as
// for the disk: that takes no processor time.
type race struct {
	name          string
	base, variant string // sites
	callers       int

	rate [2][]float64 // calls a second, in each round: base, variant
}

// A race takes longer slices and fewer rounds than a pair: with many callers that
// wait for the disk, the end of a slice, when some have their last answer and
// others do not, must not count.
const (
	raceSlices = 20
	raceRounds = 10
)

func allRaces() (races []*race) {
	for _, callers := range []int{1, 16, 64} {
		races = append(races, &race{name: fmt.Sprintf("audit, respond, callers: %d", callers), base: "key, respond", variant: "audit, respond", callers: callers})
	}
	return races
}

// race measures and prints the second table.
func (m *meter) race(ctx context.Context, races []*race, out io.Writer) error {
	if len(races) == 0 {
		return nil
	}
	for number := range max(1, m.options.rounds/raceRounds) + 1 {
		for _, r := range races {
			for turn := range 2 {
				if err := ctx.Err(); err != nil {
					return err
				}
				which := (turn + number) % 2
				site := []string{r.base, r.variant}[which]
				t, err := m.send(order{m.sites[site], http.StatusOK, raceSlices * m.options.slice, r.callers, 0, 1, nil})
				if err != nil {
					return fmt.Errorf("%s: %w", r.name, err)
				}
				if number > 0 { // the first is to warm up
					r.rate[which] = append(r.rate[which], float64(t.Requests)/t.Took.Seconds())
				}
			}
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\n\twithout, calls/s\twith, calls/s\tmin..max\tratio\t95 %\t")
	for _, r := range races {
		var ratios []float64
		for i, base := range r.rate[0] {
			ratios = append(ratios, r.rate[1][i]/base)
		}
		low, high := medianInterval(ratios)
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f..%.0f\t%.3f\t%.3f..%.3f\t\n", r.name, quantile(r.rate[0], 0.5), quantile(r.rate[1], 0.5),
			slices.Min(r.rate[1]), slices.Max(r.rate[1]), quantile(ratios, 0.5), low, high)
	}
	return w.Flush()
}
