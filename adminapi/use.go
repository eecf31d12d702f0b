package adminapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// defaultUseSpan is how far answers about use look back unless asked otherwise.
const defaultUseSpan = 30 * 24 * time.Hour

// maxPlacesShown bounds the addresses in one answer; the last used are shown.
const maxPlacesShown = 1000

var (
	spanParams = []string{"since", "until"}
	useParams  = append([]string{"credential"}, spanParams...)
)

// tallyView is a usage.Tally as answers show it.
type tallyView struct {
	Requests uint64            `json:"requests"`
	Refused  uint64            `json:"refused"`
	Observed uint64            `json:"would_refuse,omitzero"`
	First    *string           `json:"first_used_at"` // let in, as everywhere
	Last     *string           `json:"last_used_at"`
	Out      *string           `json:"last_refused_at"`
	Statuses map[string]uint64 `json:"statuses,omitempty"`
	Bytes    uint64            `json:"bytes"`
}

type credentialUseView struct {
	Key string `json:"key,omitempty"`
	N   uint32 `json:"n"`
	tallyView
}

type ruleUseView struct {
	Site   string `json:"site"`
	Rule   string `json:"rule"`
	Method string `json:"method,omitempty"`
	tallyView
}

type placeUseView struct {
	Address string `json:"address"`
	tallyView
}

type refusalUseView struct {
	Site     string  `json:"site"`
	Rule     string  `json:"rule"`
	Reason   string  `json:"reason"`
	Observed bool    `json:"observed"` // mode observe let it pass
	Requests uint64  `json:"requests"`
	First    *string `json:"first_at"`
	Last     *string `json:"last_at"`
}

type dayUseView struct {
	Day      string `json:"day"`
	Requests uint64 `json:"requests"`
	Refused  uint64 `json:"refused"`
	Observed uint64 `json:"would_refuse,omitzero"`
	Bytes    uint64 `json:"bytes"`
}

// summaryView is a usage.Summary as answers show it.
type summaryView struct {
	Since *string `json:"since"`
	Until *string `json:"until"`
	tallyView
	Credentials   []credentialUseView `json:"credentials"`
	Rules         []ruleUseView       `json:"rules"`
	Addresses     []placeUseView      `json:"addresses"`
	MoreAddresses int                 `json:"more_addresses,omitzero"`
	Refusals      []refusalUseView    `json:"refusals"`
	Days          []dayUseView        `json:"days"`
	Record        recordView          `json:"record"`
}

// recordView says what the record itself can and cannot tell.
type recordView struct {
	Since *string   `json:"since"` // nothing older is kept
	Gaps  []gapView `json:"gaps"`
}

type gapView struct {
	From   string          `json:"from"`
	Until  string          `json:"until"`
	Reason usage.GapReason `json:"reason"`
}

// useRecord returns the record of use, with everything counted so far in it.
func (c *call) useRecord() (usage.Store, error) {
	store, err := c.app.UseRecord(c.r.Context())
	if err != nil {
		p := refusal(useUnavailable, "Who uses which key cannot be told now: %v.", err)
		p.cause = err
		return nil, p
	}
	return store, nil
}

// span reads since and until. since is back from now unless it is given.
func span(query url.Values, now time.Time, back time.Duration) (s usage.Span, err error) {
	for _, limit := range []struct {
		name string
		t    *time.Time
	}{{"since", &s.Since}, {"until", &s.Until}} {
		if text := query.Get(limit.name); text != "" {
			if *limit.t, err = sinceTime(text, now); err != nil {
				return s, refusal(invalidQuery, "%s: %v.", limit.name, err)
			}
		}
	}
	if s.Since.IsZero() && back > 0 {
		s.Since = now.Add(-back)
	}
	if !s.Until.IsZero() && !s.Since.Before(s.Until) {
		return s, refusal(invalidQuery, "until is not after since.")
	}
	return s, nil
}

// useInSpan returns the record of use and the span of time that the query asks
// for, the last 30 days unless it says otherwise.
func (c *call) useInSpan() (usage.Store, usage.Span, error) {
	s, err := span(c.r.URL.Query(), time.Now(), defaultUseSpan)
	if err != nil {
		return nil, s, err
	}
	store, err := c.useRecord()
	return store, s, err
}

// credentialOf reads the number of the credential that a query is about, 0 for
// all.
func credentialOf(query url.Values) (uint32, error) {
	text := query.Get("credential")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != text {
		return 0, refusal(invalidQuery, "credential is its number, as in \"credentials\" of the key: 1, 2 and so on.")
	}
	return uint32(n), nil
}

// keyUse answers GET keys/{id}/usage.
func (c *call) keyUse() error {
	key, err := c.keys.Key(c.r.Context(), c.vars["id"])
	if err != nil {
		return err
	}
	credential, err := credentialOf(c.r.URL.Query())
	if err != nil {
		return err
	}
	store, s, err := c.useInSpan()
	if err != nil {
		return err
	}
	summary, err := usage.Summarize(c.r.Context(), store, usage.Query{Span: s, Key: key.ID}, func(u *usage.Counter) bool {
		return credential == 0 || u.Credential == credential
	})
	if err != nil {
		return err
	}
	view, err := viewSummary(c.r.Context(), store, s, summary)
	if err != nil {
		return err
	}
	for i := range view.Credentials {
		view.Credentials[i].Key = ""
	}
	c.write(http.StatusOK, "application/json", struct {
		Key string `json:"key"`
		summaryView
	}{key.ID, view})
	return nil
}

func viewSummary(ctx context.Context, store usage.Store, s usage.Span, sum *usage.Summary) (summaryView, error) {
	v := summaryView{
		Since: viewLimit(s.Since), Until: viewLimit(s.Until), tallyView: viewTally(&sum.Tally),
		Credentials: []credentialUseView{}, Rules: []ruleUseView{}, Addresses: []placeUseView{}, Refusals: []refusalUseView{}, Days: []dayUseView{},
	}
	for _, name := range usage.ByLast(sum.Credentials, func(a, b usage.CredentialName) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.N, b.N))
	}) {
		v.Credentials = append(v.Credentials, credentialUseView{name.Key, name.N, viewTally(sum.Credentials[name])})
	}
	for _, name := range usage.ByLast(sum.Routes, func(a, b usage.RouteName) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Method, b.Method))
	}) {
		v.Rules = append(v.Rules, ruleUseView{name.Site, name.Rule, name.Method, viewTally(sum.Routes[name])})
	}
	for i, place := range usage.ByLast(sum.Places, func(a, b usage.Place) int { return cmp.Compare(a.String(), b.String()) }) {
		if i == maxPlacesShown {
			v.MoreAddresses = len(sum.Places) - i
			break
		}
		v.Addresses = append(v.Addresses, placeUseView{place.String(), viewTally(sum.Places[place])})
	}
	for _, name := range usage.ByLast(sum.Refusals, func(a, b usage.Refusal) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Reason, b.Reason))
	}) {
		t := sum.Refusals[name]
		v.Refusals = append(v.Refusals, refusalUseView{name.Site, name.Rule, name.Reason, name.Observed, t.Requests, viewLimit(t.First), viewLimit(t.Last)})
	}
	for _, day := range usage.ByLast(sum.Days, time.Time.Compare) {
		t := sum.Days[day]
		v.Days = append(v.Days, dayUseView{day.Format(time.DateOnly), t.Requests, t.Refused, t.Observed, t.Bytes})
	}
	var err error
	v.Record, err = viewRecord(ctx, store, s)
	return v, err
}

func viewRecord(ctx context.Context, store usage.Store, s usage.Span) (recordView, error) {
	since, err := store.Since(ctx)
	if err != nil {
		return recordView{}, err
	}
	gaps, err := store.Gaps(ctx, s)
	if err != nil {
		return recordView{}, err
	}
	v := recordView{Since: viewLimit(since), Gaps: []gapView{}}
	for _, g := range gaps {
		v.Gaps = append(v.Gaps, gapView{viewTime(g.From), viewTime(g.Until), g.Why})
	}
	return v, nil
}

func viewTally(t *usage.Tally) tallyView {
	v := tallyView{Requests: t.Requests, Refused: t.Refused, Observed: t.Observed, First: viewLimit(t.FirstIn), Last: viewLimit(t.LastIn), Out: viewLimit(t.LastOut), Bytes: t.Bytes}
	for i, n := range t.Statuses {
		if n == 0 {
			continue
		}
		if v.Statuses == nil {
			v.Statuses = make(map[string]uint64)
		}
		name := "none" // the connection broke, or the answer is not complete
		if i > 0 {
			name = fmt.Sprintf("%dxx", i)
		}
		v.Statuses[name] = n
	}
	return v
}

// lastUses returns the last use of each credential of some keys, nil without a
// record: a key can be shown without it.
func (c *call) lastUses(keys ...*keyring.Key) [][]usage.LastUse {
	store, err := c.useRecord()
	if err != nil {
		return make([][]usage.LastUse, len(keys))
	}
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = key.ID
	}
	uses, err := store.LastUses(c.r.Context(), ids)
	if err != nil || len(uses) != len(keys) {
		return make([][]usage.LastUse, len(keys))
	}
	return uses
}

// showUses fills in what is known of the use of a key's credentials.
func showUses(v []credentialView, uses []usage.LastUse) {
	for i := range v {
		for _, u := range uses {
			if u.Credential != v[i].N {
				continue
			}
			v[i].Requests, v[i].Refused = u.Requests+u.Refused, u.Refused
			if u.Requests > 0 {
				place := u.Place.String()
				v[i].LastUsedAt, v[i].LastUsedIP = viewLimit(u.Last), &place
			}
		}
	}
}

// sinceTime reads a time, or how long ago it was.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if d, err := parseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := parseTime(text)
	if err != nil {
		return t, errors.New("write a time such as 2026-01-31T12:00:00Z, or how long ago it was, such as 24h or 30d")
	}
	return t, nil
}
