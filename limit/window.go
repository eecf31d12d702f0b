package limit

import "time"

// A sliding window is counted in steps: 31 of them are at least as long as the
// window, and one more is being filled. All 32 count, so that whatever is in the
// window counts, wherever it is laid, and what was spent comes back at most 1/31
// of the window later than it would with a list of every request.
const (
	windowSteps = 32
	stepMask    = windowSteps - 1
)

// window is a sliding window of one carrier.
type window struct {
	span   Span
	last   int64 // the number of the step that is being filled
	first  int64 // nothing was spent in the steps before this one
	total  uint64
	counts [windowSteps]uint32 // by number of the step
}

// step returns the length of a step in nanoseconds.
func (s Span) step() int64 {
	length := int64(s.Window())
	return (length + windowSteps - 2) / (windowSteps - 1)
}

// advance lets what is out of the window fall out.
func (w *window) advance(now int64) {
	step := now / w.span.step()
	if step <= w.last {
		return
	}
	if step-w.last >= windowSteps {
		*w = window{span: w.span, last: step, first: step}
		return
	}
	for w.last < step {
		w.last++
		w.total -= uint64(w.counts[w.last&stepMask])
		w.counts[w.last&stepMask] = 0
	}
}

// spend adds units that there is room for.
func (w *window) spend(units uint64) {
	w.total += units
	w.counts[w.last&stepMask] += uint32(units)
}

// giveBack takes back what was spent in a step, unless that has fallen out.
func (w *window) giveBack(step int64, units uint64) {
	if step <= w.last-windowSteps || step > w.last {
		return
	}
	count := &w.counts[step&stepMask]
	units = min(units, uint64(*count))
	*count -= uint32(units)
	w.total -= units
}

// until returns how long it takes until there is room for units, all other
// spending aside. With more units than the amount there never will be: it is the
// length of the window then.
func (w *window) until(now int64, amount, units uint64) time.Duration {
	if units > amount {
		return w.span.Window()
	}
	total := w.total
	for n := w.oldest(); total+units > amount && n <= w.last; n++ {
		if total -= uint64(w.counts[n&stepMask]); total+units <= amount {
			return w.falls(n, now)
		}
	}
	return 0
}

// untilMore returns how long it takes until something that was spent comes back,
// 0 if nothing was spent.
func (w *window) untilMore(now int64) time.Duration {
	if w.total == 0 {
		return 0
	}
	return w.falls(w.oldest(), now)
}

// oldest returns the first step that something was spent in, or the last one.
func (w *window) oldest() int64 {
	w.first = max(w.first, w.last-windowSteps+1)
	for w.first < w.last && w.counts[w.first&stepMask] == 0 {
		w.first++
	}
	return w.first
}

// falls returns when a step falls out of the window, from now on.
func (w *window) falls(n, now int64) time.Duration {
	return time.Duration((n+windowSteps)*w.span.step() - now)
}
