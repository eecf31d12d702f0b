package adminapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

var callParams = []string{"address", "after", "credential", "follow", "limit", "since", "status"}

// followPing is how often a follower hears something at least, so that a
// connection that broke is noticed on both ends.
const followPing = 15 * time.Second

// callView is a call as answers show it.
type callView struct {
	Time       string   `json:"time"`
	RequestID  string   `json:"request_id"`
	Credential uint32   `json:"credential"`
	Method     string   `json:"method"`
	Path       string   `json:"path"`
	Site       string   `json:"site"`
	Rules      []string `json:"rules"`
	Status     int      `json:"status"`
	Decision   string   `json:"decision"` // allowed, refused or observed
	Reason     string   `json:"reason"`
	Address    string   `json:"address"`
	UserAgent  string   `json:"user_agent"`
	Bytes      uint64   `json:"bytes"`
	DurationMS float64  `json:"duration_ms"`
}

// keyCalls answers GET keys/{id}/calls.
func (c *call) keyCalls() error {
	key, err := c.keys.Key(c.r.Context(), c.vars["id"])
	if err != nil {
		return err
	}
	query := c.r.URL.Query()
	q, err := callQuery(query)
	if err != nil {
		return err
	}
	q.Key = key.ID
	if q.Before != "" && len(q.Before) != usage.CallCursorLen {
		return badCursor()
	}
	switch query.Get("follow") {
	case "":
	case "true":
		if q.Before != "" || query.Get("limit") != "" || !q.Since.IsZero() {
			return refusal(invalidQuery, "follow shows calls from now on; leave out after, limit and since.")
		}
		return c.followCalls(q)
	default:
		return refusal(invalidQuery, "follow is true, or left out.")
	}
	store, err := c.useRecord()
	if err != nil {
		return err
	}
	calls, next, err := store.Calls(c.r.Context(), q)
	if err != nil {
		return err
	}
	views := make([]callView, len(calls))
	for i := range calls {
		views[i] = viewCall(&calls[i])
	}
	c.write(http.StatusOK, "application/json", struct {
		Calls []callView `json:"calls"`
		Next  *string    `json:"next"`
	}{views, cursor(next)})
	return nil
}

func callQuery(query url.Values) (q usage.CallQuery, err error) {
	if q.Before, q.Limit, err = page(query); err != nil {
		return q, err
	}
	if text := query.Get("since"); text != "" {
		if q.Since, err = sinceTime(text, time.Now()); err != nil {
			return q, refusal(invalidQuery, "since: %v.", err)
		}
	}
	if text := query.Get("address"); text != "" {
		place, err := usage.ParsePlace(text)
		if err != nil {
			return q, refusal(invalidQuery, `address is an IP address, an IPv6 /64 such as 2001:db8::/64, or "unknown".`)
		}
		q.Place = &place
	}
	if text := query.Get("status"); text != "" {
		digits, class := strings.CutSuffix(text, "xx")
		n, err := strconv.Atoi(digits)
		if err != nil || class && (n < 1 || n > 5) || !class && (n < 100 || n > 599) {
			return q, refusal(invalidQuery, "status is one such as 403, or a class such as 4xx.")
		}
		q.Status = n
	}
	q.Credential, err = credentialOf(query)
	return q, err
}

// followCalls sends new calls as they are written, about a second after they
// ended: one JSON document on a line each, or as server-sent events if those are
// asked for.
func (c *call) followCalls(q usage.CallQuery) error {
	follower := c.app.FollowCalls(q.Key)
	if follower == nil {
		return refusal(busy, "Too many are watching, or no record of use is kept. Try again later.")
	}
	defer follower.Stop()
	events := strings.Contains(c.r.Header.Get("Accept"), "text/event-stream")
	contentType, before, after := "application/x-ndjson", "", "\n"
	if events {
		contentType, before, after = "text/event-stream", "data: ", "\n\n"
	}
	c.w.Header().Set("Content-Type", contentType)
	control := http.NewResponseController(c.w)
	if control.Flush() != nil {
		return nil
	}
	ping := time.NewTicker(followPing)
	defer ping.Stop()
	for {
		var text []byte
		select {
		case one, open := <-follower.Calls():
			if !open { // the server is stopping, or the client is too slow
				return nil
			}
			if !q.Matches(&one) {
				continue
			}
			line, err := json.Marshal(viewCall(&one))
			if err != nil {
				return nil
			}
			text = append(append([]byte(before), line...), after...)
		case <-ping.C:
			text = []byte("\n")
			if events {
				text = []byte(": \n\n")
			}
		case <-c.r.Context().Done():
			return nil
		}
		if _, err := c.w.Write(text); err != nil || control.Flush() != nil {
			return nil
		}
	}
}

func viewCall(u *usage.Call) callView {
	v := callView{
		Time: viewTime(u.Time), RequestID: u.RequestID, Credential: u.Credential, Method: u.Method, Path: u.Path,
		Site: u.Route.Site, Rules: u.Route.Rules, Status: u.Status, Decision: "allowed", Reason: u.Reason,
		Address: "unknown", UserAgent: u.UserAgent, Bytes: u.Bytes, DurationMS: float64(u.Duration.Microseconds()) / 1000,
	}
	if u.Addr.IsValid() {
		v.Address = u.Addr.String()
	}
	switch {
	case u.Observed:
		v.Decision = "observed"
	case u.Reason != "":
		v.Decision = "refused"
	}
	return v
}
