package adminapi

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// forceParam has a change made though the key was used lately.
var forceParam = []string{"force"}

// maxPlacesNamed bounds the addresses in a sentence.
const maxPlacesNamed = 5

// recentUseView is what a 409 tells of the use that the change would break.
type recentUseView struct {
	Within    string         `json:"within"`
	Requests  uint64         `json:"requests"`
	Last      *string        `json:"last_used_at"`
	Addresses []placeUseView `json:"addresses"`
}

// forced reads the parameter force.
func (c *call) forced() (bool, error) {
	switch c.r.URL.Query().Get("force") {
	case "":
		return false, nil
	case "true":
		return true, nil
	}
	return false, refusal(invalidQuery, "force is true, or left out.")
}

// confirmEnd refuses to put an end to what was used a short while ago, unless
// the caller insists: whoever still uses it would be locked out. which chooses
// the credentials that would end, nil for all. A key that is in the state to
// already is not changed, and one that is revoked lets nobody in: nothing is
// asked, so that the change itself says what is in its way.
func (c *call) confirmEnd(id, what string, to keyring.State, which func(*keyring.Key, uint32) bool) error {
	forced, err := c.forced()
	within := c.app.ConfirmWithin()
	if err != nil || forced || within <= 0 {
		return err
	}
	key, err := c.keys.Key(c.r.Context(), id)
	if err != nil {
		return err
	}
	if key.State == to || key.State.Final() {
		return nil
	}
	store, err := c.app.UseRecord(c.r.Context())
	if err != nil {
		p := refusal(recentlyUsed, "It cannot be told whether %s was used lately: %v. Add ?force=true to do it nevertheless.", what, err)
		p.cause = err
		return p
	}
	now := time.Now()
	since := now.Add(-within)
	query := usage.Query{Span: usage.Span{Since: since.Truncate(time.Hour)}, Key: id}
	sum, err := usage.Summarize(c.r.Context(), store, query, func(u *usage.Counter) bool {
		return u.Reason == "" && !u.Last.Before(since) && (which == nil || which(key, u.Credential))
	})
	if err != nil {
		return err
	}
	if sum.Requests == 0 {
		return nil
	}
	view := &recentUseView{Within: short(within), Requests: sum.Requests, Last: viewLimit(sum.Last)}
	places := usage.ByLast(sum.Places, func(a, b usage.Place) int { return cmp.Compare(a.String(), b.String()) })
	var named []string
	for i, place := range places {
		if i < maxPlacesNamed {
			named = append(named, fmt.Sprintf("%s (%d)", place, sum.Places[place].Requests))
		}
		if i < maxPlacesShown {
			view.Addresses = append(view.Addresses, placeUseView{place.String(), viewTally(sum.Places[place])})
		}
	}
	if more := len(places) - len(named); more > 0 {
		named = append(named, fmt.Sprintf("%d more", more))
	}
	p := refusal(recentlyUsed, "%s was used %s in the last %s, last at %s, from %s. Whoever uses it would be refused. Add ?force=true to do it nevertheless.",
		strings.ToUpper(what[:1])+what[1:], times(sum.Requests), short(within), viewTime(sum.Last), strings.Join(named, ", "))
	p.recent = view
	return p
}

// short writes a duration without what is zero at its end.
func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"0s", "0m"} {
		if rest, ok := strings.CutSuffix(text, zero); ok && strings.TrimRight(rest, "0123456789.") != "" && !strings.ContainsRune("0123456789.", rune(rest[len(rest)-1])) {
			text = rest
		}
	}
	return text
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
