// Package lockout counts what became of the requests of each client address, and locks addresses that
// caused too much of it. It knows neither HTTP servers nor keys: a caller tells it outcomes, and asks
// whether an address is locked.
//
// # Addresses
//
// Addresses are counted together by prefix: an IPv4 address alone and an IPv6 /64, the network that one
// customer has, unless a [Policy] says otherwise.
//
// # Windows
//
// A rule such as "429 1000 in 1m" has a sliding window that moves on in sixths. The first outcome of an
// address opens the window; while it is open, everything counts, so that the thousandth within a minute
// locks. After that the window moves on by ten seconds at a time and forgets what fell out. So
//   - an address with fewer than the limit within any window is never locked: nothing older counts;
//   - an address with the limit within five sixths of the window is always locked, whenever it began;
//   - between the two it depends on where the window stands.
//
// A fixed window would let through twice the limit around its border; an exact one has to keep a time
// for each outcome, which is 8 kB instead of 40 bytes for an address.
//
// # Locks
//
// A lock lasts as long as the policy says from the outcome that reached the limit, whatever the address
// does meanwhile: outcomes are not counted while it is locked, and counting begins anew afterwards.
// With growth each repetition multiplies the time, until there was no lock for as long as the longest
// lock may last. Nothing but time and [Table.Release] ends a lock or takes back a count: not a success,
// and not a change of the policy.
//
// # Bounds
//
// The [Limits] bound both tables. Locks and counters are apart, so that counters, however many, cost no
// lock. While all counters are in use, an outcome of a new address takes the place of the counter that
// is the least part of the way to its limit, among sixteen, and of those of the one that began first;
// but never of one that is more than half-way. So a flood of addresses that are seen once only displaces
// its own kind. If all sixteen are more than half-way, the new address is not counted.
// A lock is never displaced. While there is no room for another, an address that reached its limit stays
// there, and is locked with its next outcome once there is room. What is remembered of locks that ended,
// for growth, makes room first.
// [Stats] tells of all these. Hashes are seeded, so that nobody can choose who is displaced.
//
// # Time
//
// Time is the process's own monotonic clock: setting the wall clock neither ends nor prolongs a lock. A
// saved table has what remained of each lock, and the wall clock's time. [Table.Load] subtracts what
// the wall clock says has passed since, but never adds to what remained: a clock that was set back
// between the two prolongs a lock by at most the time that the process was down; one that was set
// forward ends it early.
package lockout
