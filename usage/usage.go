// Package usage is the record of use: which key was used, with which
// credential, from which address, on which rules, and what came of it.
//
// A [Recorder] counts in memory and hands what it counted to a [Store] every
// second; what strangers can make it count is bounded. Nothing here decides about
// a request.
//
// Read usage.go for the words and the storage contract, recorder.go for the way
// of a count, cells.go and ring.go for where it waits. What is made of it:
// summary.go adds up, register.go says what a key can get at, suggest.go what it
// could do without, watch.go from where or how much its use is unusual.
package usage

import (
	"context"
	"net/netip"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// Route is what a request met on a site: the handler's name and the names of the
// rules that matched, in the order of the configuration, and with which method.
// Rules is shared; nobody changes it.
type Route struct {
	Site   string
	Rules  []string
	Method string // in capitals; "other" for one that is not known
}

// Place is where callers are: an IPv4 address, an IPv6 /64, one of the places
// that stand for more than one, or the zero Place for an address that is not
// known.
type Place struct {
	addr  netip.Addr // of a /64 the first
	other bool
}

// Other stands for the addresses beyond those that are counted apart.
var Other = Place{other: true}

// PlaceOf returns the place of a client's address, which is unmapped and has no
// zone. The zero Addr is an address that is not known.
func PlaceOf(addr netip.Addr) Place {
	if addr.Is6() {
		prefix, _ := addr.Prefix(64)
		addr = prefix.Addr()
	}
	return Place{addr: addr}
}

// Prefix returns the addresses of p; false for Other and an unknown one.
func (p Place) Prefix() (netip.Prefix, bool) {
	if p.other || !p.addr.IsValid() {
		return netip.Prefix{}, false
	}
	bits := 32
	if p.addr.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(p.addr, bits), true
}

// String returns an address, a prefix such as 2001:db8::/64, "other" or
// "unknown".
func (p Place) String() string {
	switch {
	case p.other:
		return "other"
	case !p.addr.IsValid():
		return "unknown"
	case p.addr.Is6():
		return netip.PrefixFrom(p.addr, 64).String()
	}
	return p.addr.String()
}

// ParsePlace reads what String returns, and any address.
func ParsePlace(s string) (Place, error) {
	switch s {
	case "other":
		return Other, nil
	case "unknown":
		return Place{}, nil
	}
	if prefix, err := netip.ParsePrefix(s); err == nil && prefix.Addr().Is6() && prefix.Bits() == 64 {
		return PlaceOf(prefix.Addr()), nil
	}
	addr, err := netip.ParseAddr(s)
	return PlaceOf(addr.WithZone("").Unmap()), err
}

// Event is what the counters keep apart: one way in which one key was used.
type Event struct {
	Key        string // id; "" for requests that proved no key
	Credential uint32 // 0 for those
	Route      Route
	Place      Place
	Reason     string // why it was refused, "" if it was not
	Observed   bool   // it was let pass nevertheless, in mode observe
}

// Counter is how often something happened within an hour. A request counts when
// it comes in, its answer when it ends, which may be in another batch: then
// Requests is 0 and First and Last are zero.
type Counter struct {
	Event
	Hour     time.Time // when the hour began; UTC
	Requests uint64
	Statuses [6]uint64 // answers by the first digit of their status; 0: none was written, or not yet
	Bytes    uint64    // of response bodies
	First    time.Time
	Last     time.Time
}

// ScopeUse says that a key needed a scope that a placeholder had filled in.
// Those that rules name as they stand follow from the counters.
type ScopeUse struct {
	Key   string
	Scope string // "" when there were more than are kept apart
	Last  time.Time
}

// Call is one request of a proven key, refused or not.
type Call struct {
	Key        string
	Credential uint32
	Time       time.Time // when the request came in
	Method     string    // bounded by MaxMethod
	Path       string    // bounded by MaxPath; without the query's values
	Route      Route
	Status     int // 0: none was written
	Reason     string
	Observed   bool
	Addr       netip.Addr // the zero Addr if not known
	UserAgent  string     // bounded by MaxUserAgent
	Bytes      uint64
	Duration   time.Duration
	RequestID  string // bounded by MaxRequestID
}

// The longest texts of a Call in bytes; longer ones are cut.
const (
	MaxMethod    = 16
	MaxPath      = 256
	MaxUserAgent = 128
	MaxRequestID = 64
)

// Batch is what was counted since the one before.
type Batch struct {
	// ID is random. A batch whose ID is that of the last one that was added
	// changes nothing, so that one whose outcome is not known can be repeated.
	ID       [16]byte
	Counters []Counter
	Scopes   []ScopeUse
	Calls    []Call // in order of time for each key
	Gaps     []Gap
}

// Gap is a time in which something may have happened that is not in the record.
type Gap struct {
	From, Until time.Time
	Why         GapReason
}

// GapReason is why something may be missing.
type GapReason string

// The reasons.
const (
	GapCrash    GapReason = "crash"    // the process ended without writing what it had counted, at most a second's worth
	GapOverflow GapReason = "overflow" // calls came faster than they could be written; counters are complete
)

// Added is what a batch brought.
type Added struct {
	// NewPlaces are the first uses of a key, let in, from a place that it was
	// not used from before. First says that it is the key's first place.
	NewPlaces []NewPlace
}

// NewPlace is a key's first use from a place.
type NewPlace struct {
	Key        string
	Credential uint32
	Place      Place
	Time       time.Time
	First      bool
}

// LastUse is when a credential was used last, over all that is kept. Refused
// requests do not count, except as Refused.
type LastUse struct {
	Credential uint32
	First      time.Time
	Last       time.Time
	Place      Place  // of the last use
	Requests   uint64 // since First
	Refused    uint64
}

// Span is from Since, inclusive, to Until, exclusive; a zero time is no limit.
// Counters belong to a span by the hour they are of.
type Span struct{ Since, Until time.Time }

// Query chooses counters. An empty field chooses all.
type Query struct {
	Span
	Key   string
	Place *Place
}

// CallCursorLen is the length of a cursor of Calls in bytes.
const CallCursorLen = 12

// CallQuery chooses calls of one key, newest first.
type CallQuery struct {
	Key        string
	Before     string // a cursor that Calls returned
	Limit      int
	Since      time.Time
	Credential uint32 // 0: any
	Place      *Place
	Status     int // 404, or 4 for 4xx; 0: any
}

// Matches reports whether a call of the key is among those that q chooses, page
// and key aside.
func (q *CallQuery) Matches(c *Call) bool {
	return !c.Time.Before(q.Since) && (q.Place == nil || PlaceOf(c.Addr) == *q.Place) &&
		(q.Credential == 0 || c.Credential == q.Credential) && (q.Status == 0 || c.Status == q.Status || c.Status/100 == q.Status)
}

// Keep is how much a store keeps.
type Keep struct {
	Usage time.Duration // counters, by their hour
	Calls time.Duration // calls, by their time
	Last  int           // calls of each key
}

// Store keeps the record of use. All methods are safe for concurrent use.
// Errors wrap the sentinels of package keyring.
type Store interface {
	// Add adds a batch, all of it or nothing, and returns when it is on the
	// disk. Of each key's calls the newest Keep.Last stay.
	Add(ctx context.Context, b Batch) (Added, error)

	// Counters calls fn with the counters that q chooses, key by key in
	// ascending order within a day, day by day, until fn returns false. It
	// holds no lock while fn runs.
	Counters(ctx context.Context, q Query, fn func(*Counter) bool) error

	// LastUses returns the use of each credential of each key, in the order of
	// keys: nil for a key that was never used.
	LastUses(ctx context.Context, keys []string) ([][]LastUse, error)

	// Scopes returns what scopes a key needed that placeholders had filled in.
	Scopes(ctx context.Context, key string) ([]ScopeUse, error)

	// Calls returns calls, newest first, and the cursor of those that follow,
	// "" if there are none.
	Calls(ctx context.Context, q CallQuery) (calls []Call, next string, err error)

	// Since returns since when there is a record without a gap at its
	// beginning: later than the file's own beginning if old records were
	// purged.
	Since(ctx context.Context) (time.Time, error)

	// Gaps returns the gaps that touch a span, oldest first. The store itself
	// adds one when it is opened and was not closed before.
	Gaps(ctx context.Context, span Span) ([]Gap, error)

	// Purge removes what is older than Keep says, in short steps.
	Purge(ctx context.Context) error

	// Forget removes every address, path and user agent of a key, and leaves
	// the counts.
	Forget(ctx context.Context, key string) error

	// The trail of the calls that had to be recorded before they were served.
	// Nothing of it is dropped for anything else; PurgeTrail alone removes it.
	audit.CallTrail

	// Close waits for running calls and releases everything. Outcomes that wait
	// are written.
	Close() error
}
