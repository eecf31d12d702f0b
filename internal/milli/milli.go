// Package milli writes times as the trail and the record of use keep them: in
// Unix milliseconds, with 0 for the zero time. It is for times that the server
// itself noted; the first instant of 1970 cannot be told from none.
package milli

import "time"

// Of returns t in Unix milliseconds, 0 for the zero time.
func Of(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Time returns the time, in UTC, that Of turned into ms.
func Time(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
