package limit

import "time"

// quota is what a carrier has spent of its days, or of its months. Two periods
// are remembered, so that a clock that ran ahead and was set back finds again
// what was spent before.
type quota struct {
	span    Span
	floor   int32 // the latest period that was spent from and is forgotten; 0 for none
	periods [2]period
}

// period is one day or month. Number counts days or months; 0 is none.
type period struct {
	number   int32
	spent    uint64
	reserved uint64 // on disk: after a crash so much counts as spent
}

// unspent reports whether nothing is lost when p is forgotten.
func (p *period) unspent() bool { return p.spent == 0 && p.reserved == 0 }

// at returns the period that spending at a time is counted in. That is the one of
// the clock, unless it may have been spent and forgotten, which the clock leads
// to only when it is set back: then it is a later one. So no period is ever begun
// anew: whatever is forgotten is not above a floor, and what is begun is.
//
// floor is the latest period that was ever forgotten of any carrier.
func (q *quota) at(number, floor int32) *period {
	if p := q.find(number); p != nil {
		return p
	}
	number = max(number, floor+1, q.floor+1)
	if p := q.find(number); p != nil {
		return p
	}
	p := q.least()
	if !p.unspent() {
		if number < p.number {
			return p // there is no room for one more
		}
		q.floor = p.number
	}
	*p = period{number: number}
	return p
}

func (q *quota) find(number int32) *period {
	for i := range q.periods {
		if q.periods[i].number == number {
			return &q.periods[i]
		}
	}
	return nil
}

// least returns the period that is forgotten first: one that nothing was spent
// from, or else the earlier one.
func (q *quota) least() *period {
	a, b := &q.periods[0], &q.periods[1]
	if a.unspent() || !b.unspent() && a.number < b.number {
		return a
	}
	return b
}

// newest returns the latest period that was spent from, known or forgotten.
func (q *quota) newest() int32 {
	newest := q.floor
	for i := range q.periods {
		if p := &q.periods[i]; !p.unspent() {
			newest = max(newest, p.number)
		}
	}
	return newest
}

// restore takes over what a file says of a period. Records come in the order in
// which they were written.
func (q *quota) restore(number int32, reserved uint64) {
	p := q.find(number)
	if p == nil {
		p = q.least()
		switch {
		case p.unspent():
		case number < p.number:
			q.floor = max(q.floor, number)
			return
		default:
			q.floor = max(q.floor, p.number)
		}
		*p = period{number: number}
	}
	p.reserved = max(p.reserved, reserved)
	p.spent = p.reserved
}

// lease is how much of a quota is reserved at once: a hundredth, which is the
// most that a crash can lose.
func lease(amount uint64) uint64 { return max(amount/100, 1) }

// numberOf returns the day or month that a time belongs to, in seconds since 1970.
func numberOf(span Span, unix int64) int32 {
	if span == Day {
		return int32(unix / 86400)
	}
	year, month, _ := time.Unix(unix, 0).UTC().Date()
	return int32(year*12 + int(month) - 1)
}

// endOf returns when a day or month ends, in seconds since 1970.
func endOf(span Span, number int32) int64 {
	if span == Day {
		return (int64(number) + 1) * 86400
	}
	return time.Date(int(number/12), time.Month(number%12+2), 1, 0, 0, 0, 0, time.UTC).Unix()
}
