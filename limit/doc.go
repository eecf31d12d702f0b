// Package limit counts what keys and orgs spend, and says when they have spent
// enough: so many requests in any window of some length, and so many in a
// calendar day or month.
//
// It knows neither HTTP nor keys: a [Table] counts for carriers, which are a
// name and the limits that hold for it at this moment. What was spent stays with
// the carrier and the window when the limits change.
//
// A window never lets through more than its amount, wherever it is laid; see
// [Table.Take]. What was spent of a day or month survives every end of the
// process, kill -9 included, and is never forgotten: it is reserved on disk
// before it is spent, see file.go.
//
// Read limit.go for the words, table.go for taking, window.go and quota.go for
// how the two kinds count, lease.go and book.go for what is reserved on disk.
package limit
