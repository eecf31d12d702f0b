package adminapi

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

var reportParams = append([]string{"address", "format", "key", "org"}, spanParams...)

// reportView is the answer of GET report.
type reportView struct {
	Key     string          `json:"key,omitempty"`
	Org     string          `json:"org,omitempty"`
	Address string          `json:"address,omitempty"`
	Keys    []reportKeyView `json:"keys"`
	summaryView
	historyView
}

type reportKeyView struct {
	ID    string        `json:"id"` // "" for requests that proved no key
	Name  string        `json:"name"`
	Org   string        `json:"org"`
	Owner string        `json:"owner"`
	State keyring.State `json:"state"`
	tallyView
}

// subject is what a report is about.
type subject struct {
	key, org string
	place    *usage.Place
	address  string          // as it was asked for
	keys     map[string]bool // of the org
}

// report answers GET report: what one key, the keys of one org, or one address
// did in a span of time.
func (c *call) report() error {
	query := c.r.URL.Query()
	about, err := c.subject(query)
	if err != nil {
		return err
	}
	s, err := span(query, time.Now(), 0)
	if err != nil {
		return err
	}
	inCSV, err := c.wantsCSV()
	if err != nil {
		return err
	}
	store, err := c.useRecord()
	if err != nil {
		return err
	}
	if inCSV {
		return c.reportCSV(store, about, s)
	}
	byKey := make(map[string]*usage.Tally)
	sum, err := usage.Summarize(c.r.Context(), about.in(store), usage.Query{Span: s, Key: about.key, Place: about.place}, func(u *usage.Counter) bool {
		if byKey[u.Key] == nil {
			byKey[u.Key] = new(usage.Tally)
		}
		byKey[u.Key].Add(u)
		return true
	})
	if err != nil {
		return err
	}
	v := reportView{Key: about.key, Org: about.org, Keys: []reportKeyView{}}
	if about.place != nil {
		v.Address = about.place.String()
	}
	if v.summaryView, err = viewSummary(c.r.Context(), store, s, sum); err != nil {
		return err
	}
	for _, id := range usage.ByLast(byKey, cmp.Compare[string]) {
		row := reportKeyView{ID: id, tallyView: viewTally(byKey[id])}
		if key, err := c.keys.AnyKey(c.r.Context(), id); err == nil {
			row.Name, row.Org, row.Owner, row.State = key.Name, key.Org, key.Owner, key.State
		}
		v.Keys = append(v.Keys, row)
	}
	if v.historyView, err = c.history(about, s); err != nil {
		return err
	}
	c.write(http.StatusOK, "application/json", v)
	return nil
}

// subject reads whom the report is about. Keys that were deleted are no
// exception: what they did is asked for afterwards.
func (c *call) subject(query url.Values) (subject, error) {
	s := subject{key: query.Get("key"), org: query.Get("org")}
	given := 0
	for _, name := range []string{"key", "org", "address"} {
		if query.Has(name) {
			given++
		}
	}
	if given != 1 {
		return s, refusal(invalidQuery, "A report is about one of key, org and address; write one of them.")
	}
	ctx := c.r.Context()
	switch {
	case s.key != "":
		if _, err := c.keys.AnyKey(ctx, s.key); err != nil {
			return s, err
		}
	case s.org != "":
		if _, err := c.keys.Org(ctx, s.org); err != nil {
			return s, err
		}
		s.keys = make(map[string]bool)
		return s, c.keys.EachKey(ctx, func(key *keyring.Key) {
			if key.Org == s.org {
				s.keys[key.ID] = true
			}
		})
	default:
		place, err := usage.ParsePlace(query.Get("address"))
		if err != nil {
			return s, refusal(invalidQuery, `address is an IP address, an IPv6 /64 such as 2001:db8::/64, or "unknown".`)
		}
		s.place, s.address = &place, query.Get("address")
		if addr, err := netip.ParseAddr(s.address); err == nil {
			s.address = addr.Unmap().WithZone("").String() // as the trail has it
		}
	}
	return s, nil
}

// fewKeys is how many keys are looked up one by one; for more the whole span is
// read.
const fewKeys = 64

// in returns a store that has the counters of the subject only.
func (s *subject) in(store usage.Store) usage.Store {
	if s.keys == nil {
		return store
	}
	return ofKeys{store, s.keys}
}

// ofKeys is a store as if it had some keys only.
type ofKeys struct {
	usage.Store
	keys map[string]bool
}

func (o ofKeys) Counters(ctx context.Context, q usage.Query, fn func(*usage.Counter) bool) error {
	if len(o.keys) > fewKeys {
		return o.Store.Counters(ctx, q, func(u *usage.Counter) bool { return !o.keys[u.Key] || fn(u) })
	}
	for key := range o.keys {
		q.Key = key
		if err := o.Store.Counters(ctx, q, fn); err != nil {
			return err
		}
	}
	return nil
}

// reportCSV writes every counter.
func (c *call) reportCSV(store usage.Store, about subject, s usage.Span) error {
	t := c.csv("report", "hour", "key", "credential", "site", "rules", "method", "address", "decision", "reason",
		"requests", "1xx", "2xx", "3xx", "4xx", "5xx", "none", "bytes", "first_at", "last_at")
	err := about.in(store).Counters(c.r.Context(), usage.Query{Span: s, Key: about.key, Place: about.place}, func(u *usage.Counter) bool {
		decision := "allowed"
		switch {
		case u.Observed:
			decision = "observed"
		case u.Reason != "":
			decision = "refused"
		}
		number := func(n uint64) string { return strconv.FormatUint(n, 10) }
		t.row(viewTime(u.Hour), u.Key, fmt.Sprint(u.Credential), u.Route.Site, joined(u.Route.Rules), u.Route.Method, u.Place.String(), decision, u.Reason,
			number(u.Requests), number(u.Statuses[1]), number(u.Statuses[2]), number(u.Statuses[3]), number(u.Statuses[4]), number(u.Statuses[5]), number(u.Statuses[0]),
			number(u.Bytes), orEmpty(viewLimit(u.First)), orEmpty(viewLimit(u.Last)))
		return t.w.Error() == nil && c.r.Context().Err() == nil
	})
	if err == nil {
		err = t.end()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // a list that ends early must not look whole
	}
	return nil
}
