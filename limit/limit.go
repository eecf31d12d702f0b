package limit

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of limits.
const (
	MaxLimits = 8                   // of one carrier
	MaxWindow = 31 * 24 * time.Hour // of a sliding window; at least a second
	MaxRate   = 1_000_000_000       // units in a sliding window
	MaxQuota  = 1_000_000_000_000   // units in a day or month
	MaxCost   = 1_000_000           // units of one request
)

// Span is what a limit is about: the length of a sliding window in seconds, or
// a part of the calendar. A carrier has at most one limit of each.
type Span int32

// The parts of the calendar, in UTC. A day begins at 00:00, a month on its first
// day at 00:00.
const (
	Day   Span = -1
	Month Span = -2
)

// Calendar reports whether s is a part of the calendar.
func (s Span) Calendar() bool { return s < 0 }

// Window returns the length of a sliding window, 0 for a part of the calendar.
func (s Span) Window() time.Duration { return max(time.Duration(s), 0) * time.Second }

// String returns what stands behind the slash of a limit: 1s, 90s, 1h, day.
func (s Span) String() string { return string(s.Append(nil)) }

// Append appends what String returns.
func (s Span) Append(dst []byte) []byte {
	switch {
	case s == Day:
		return append(dst, "day"...)
	case s == Month:
		return append(dst, "month"...)
	case s%3600 == 0:
		return append(strconv.AppendInt(dst, int64(s)/3600, 10), 'h')
	case s%60 == 0:
		return append(strconv.AppendInt(dst, int64(s)/60, 10), 'm')
	}
	return append(strconv.AppendInt(dst, int64(s), 10), 's')
}

// Limit is how many units may be spent in a span.
type Limit struct {
	Amount uint64
	Span   Span
}

// String returns the limit as Parse reads it, such as 100/1s.
func (l Limit) String() string { return strconv.FormatUint(l.Amount, 10) + "/" + l.Span.String() }

// Parse reads a limit: an amount, a slash, and a window such as 1s, 15m or 1h30m,
// or day or month. Its errors say what to write instead.
func Parse(text string) (Limit, error) {
	const form = "write an amount and a window, such as 100/1s or 10000/1h, or a quota, such as 50000/day or 1000000/month"
	digits, window, ok := strings.Cut(text, "/")
	if !ok || digits == "" || window == "" {
		return Limit{}, fmt.Errorf("%s", form)
	}
	if strings.Trim(digits, "0123456789") != "" || digits[0] == '0' && digits != "0" {
		return Limit{}, fmt.Errorf("the amount must be a whole number in plain digits; %s", form)
	}
	amount, err := strconv.ParseUint(digits, 10, 64)
	if amount == 0 && err == nil {
		return Limit{}, fmt.Errorf("an amount of 0 would refuse every request; suspend the key or org instead")
	}
	l := Limit{Amount: amount}
	if l.Span, ok = parseSpan(window); !ok {
		if err != nil {
			digits = "100" // too large to be repeated
		}
		return Limit{}, spanError(digits, window, form)
	}
	if err != nil || amount > l.max() {
		return Limit{}, fmt.Errorf("the amount may be at most %d in a %s", l.max(), l.kind())
	}
	return l, nil
}

func (l Limit) max() uint64 {
	if l.Span.Calendar() {
		return MaxQuota
	}
	return MaxRate
}

func (l Limit) kind() string {
	if l.Span.Calendar() {
		return "quota"
	}
	return "window"
}

// parseSpan reads hours, minutes and seconds, each at most once and in this
// order, or a part of the calendar. time.ParseDuration reads more than one would
// want to find in a list of limits: signs, fractions, 60s60s.
func parseSpan(text string) (Span, bool) {
	switch text {
	case "day":
		return Day, true
	case "month":
		return Month, true
	}
	var seconds int64
	for _, unit := range []struct {
		letter  string
		seconds int64
	}{{"h", 3600}, {"m", 60}, {"s", 1}} {
		digits, rest, found := strings.Cut(text, unit.letter)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil || digits[0] < '1' || digits[0] > '9' {
			return 0, false
		}
		seconds += int64(n) * unit.seconds
		if text = rest; text == "" {
			break
		}
	}
	if text != "" || seconds < 1 || seconds > int64(MaxWindow/time.Second) {
		return 0, false
	}
	return Span(seconds), true
}

func spanError(amount, text, form string) error {
	switch {
	case text == "s" || text == "sec" || text == "second":
		return fmt.Errorf("write %s/1s for a second", amount)
	case text == "min" || text == "minute":
		return fmt.Errorf("write %s/1m for a minute", amount)
	case text == "m":
		return fmt.Errorf("write %s/1m for a minute, or %[1]s/month for a calendar month", amount)
	case text == "h" || text == "hour":
		return fmt.Errorf("write %s/1h for an hour", amount)
	case strings.HasSuffix(text, "d"):
		return fmt.Errorf("write %s/24h for any 24 hours, or %[1]s/day for a calendar day in UTC", amount)
	case strings.HasSuffix(text, "ms"):
		return fmt.Errorf("the shortest window is 1s")
	case text == "days", text == "months":
		return fmt.Errorf("write %s/%s, for one of them", amount, strings.TrimSuffix(text, "s"))
	}
	return fmt.Errorf("a window is 1s to %dh, in h, m and s; %s", int(MaxWindow.Hours()), form)
}

// Normalize returns limits in their one order: windows by length, then day, then
// month. Two of one span are an error, since the smaller one would always count,
// and so are more than MaxLimits. at is the index of the limit that is wrong, -1
// if it is all of them.
func Normalize(limits []Limit) (sorted []Limit, at int, err error) {
	if len(limits) == 0 {
		return nil, 0, nil
	}
	if len(limits) > MaxLimits {
		return nil, -1, fmt.Errorf("%d entries, at most %d are possible", len(limits), MaxLimits)
	}
	for i, l := range limits {
		if l.Amount == 0 || l.Amount > l.max() || l.Span == 0 || l.Span < Month || l.Span.Window() > MaxWindow {
			return nil, i, fmt.Errorf("not a limit")
		}
		if slices.ContainsFunc(limits[:i], func(other Limit) bool { return other.Span == l.Span }) {
			return nil, i, fmt.Errorf("there is another limit for %s; the smaller one would always count", l.Span)
		}
	}
	sorted = slices.Clone(limits)
	slices.SortFunc(sorted, func(a, b Limit) int {
		if a.Span.Calendar() != b.Span.Calendar() {
			if a.Span.Calendar() {
				return 1
			}
			return -1
		}
		if a.Span.Calendar() {
			return cmp.Compare(b.Span, a.Span)
		}
		return cmp.Compare(a.Span, b.Span)
	})
	return sorted, 0, nil
}

// ParseAll reads and normalizes a list. at is as in Normalize.
func ParseAll(texts []string) (limits []Limit, at int, err error) {
	if len(texts) > MaxLimits {
		return nil, -1, fmt.Errorf("%d entries, at most %d are possible", len(texts), MaxLimits)
	}
	for i, text := range texts {
		l, err := Parse(text)
		if err != nil {
			return nil, i, err
		}
		limits = append(limits, l)
	}
	return Normalize(limits)
}

// Texts returns limits as ParseAll reads them.
func Texts(limits []Limit) []string {
	texts := make([]string, len(limits))
	for i, l := range limits {
		texts[i] = l.String()
	}
	return texts
}
