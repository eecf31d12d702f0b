package adminapi

import (
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

var auditParams = append([]string{"action", "actor", "format", "key", "org", "since", "trail", "until"}, pageParams...)

const (
	// maxPageBytes is when a page of the trail ends before its limit.
	maxPageBytes = 4 << 20

	// maxLooked is how many entries are looked at for a page, which may have
	// less than its limit, then, or nothing: about a tenth of a second's work.
	maxLooked = 200_000
)

// trailNamed returns the trail that the query names.
func (c *call) trailNamed(query url.Values) (audit.Trail, error) {
	switch query.Get("trail") {
	case "", "management":
		return c.keys.Trail(), nil
	case "calls":
		return c.useRecord()
	}
	return nil, refusal(invalidQuery, "trail is management or calls.")
}

// listAudit answers GET audit: who did what, newest first. All of it in CSV,
// page by page in JSON.
func (c *call) listAudit() error {
	query := c.r.URL.Query()
	trail, err := c.trailNamed(query)
	if err != nil {
		return err
	}
	search := audit.Search{Key: query.Get("key"), Org: query.Get("org"), Actor: query.Get("actor"), Action: query.Get("action")}
	if search.Key != "" && !keyring.ValidKeyID(search.Key) {
		return refusal(invalidQuery, "key is the id of a key, such as key_…; it may be a deleted one.")
	}
	within, err := span(query, time.Now(), 0)
	if err != nil {
		return err
	}
	search.Since, search.Until = within.Since, within.Until
	inCSV, err := c.wantsCSV()
	if err != nil {
		return err
	}
	after, limit, err := page(query)
	if err != nil {
		return err
	}
	if inCSV {
		if after != "" || query.Get("limit") != "" {
			return refusal(invalidQuery, "csv has all entries; leave out after and limit.")
		}
		return c.auditCSV(trail, search)
	}
	if search.Before, err = entryPlace(after); err != nil {
		return err
	}
	search.Most = maxLooked
	views, size := []entryView{}, 0
	place, err := trail.SearchTrail(c.r.Context(), search, func(e *audit.Entry) bool {
		if len(views) == limit || size > maxPageBytes {
			return false
		}
		views, size = append(views, viewEntry(e)), size+len(e.Payload)+len(e.Details)
		return true
	})
	damaged := errors.Is(err, keyring.ErrDamaged) && (len(views) > 0 || place > 0)
	if err != nil && !damaged {
		return err
	}
	next := ""
	if place > 0 {
		next = strconv.FormatUint(place, 10)
	}
	c.write(http.StatusOK, "application/json", struct {
		Entries []entryView `json:"entries"`
		Next    *string     `json:"next"`
		Damaged bool        `json:"damaged,omitzero"` // some entries are left out; verify says which
	}{views, cursor(next), damaged})
	return nil
}

// entryPlace reads the place where a list goes on: before this number.
func entryPlace(after string) (uint64, error) {
	if after == "" {
		return 0, nil
	}
	before, err := strconv.ParseUint(after, 10, 64)
	if err != nil || before == 0 {
		return 0, badCursor()
	}
	return before, nil
}

// entryView is an entry as answers show it: what its payload and details say,
// and where it stands.
type entryView map[string]jsontext.Value

func viewEntry(e *audit.Entry) entryView {
	v := entryView{}
	_ = json.Unmarshal(e.Payload, &v)
	details := entryView{}
	_ = json.Unmarshal(e.Details, &details)
	if personal, plain := details["changes"], v["changes"]; personal != nil {
		both := entryView{}
		_ = json.Unmarshal(personal, &both)
		_ = json.Unmarshal(plain, &both)
		details["changes"] = value(both)
		delete(v, "changes")
	}
	for name, member := range details {
		if _, taken := v[name]; !taken {
			v[name] = member
		}
	}
	v["seq"], v["time"], v["hash"], v["erased"] = value(e.Seq), value(viewTime(e.Time)), value(hex.EncodeToString(e.Hash[:])), value(e.Erased)
	return v
}

func value(of any) jsontext.Value {
	text, _ := json.Marshal(of, json.Deterministic(true)) // numbers, texts and what was JSON before
	return text
}

// entryColumns are the members that have a column of their own; the others stand
// together in one.
var entryColumns = []string{"seq", "time", "action", "actor", "claimed_by", "address", "request_id", "key", "org"}

// auditCSV writes every entry that is selected.
func (c *call) auditCSV(trail audit.Trail, search audit.Search) error {
	t := c.csv("audit", append(entryColumns[:len(entryColumns):len(entryColumns)], "more", "erased", "hash")...)
	_, err := trail.SearchTrail(c.r.Context(), search, func(e *audit.Entry) bool {
		t.row(cellsOf(viewEntry(e))...)
		return t.w.Error() == nil
	})
	if errors.Is(err, keyring.ErrDamaged) {
		note := make([]string, len(entryColumns)+3)
		note[slices.Index(entryColumns, "action")] = "damaged entries are left out: GET /api_keys/audit/verify says which"
		t.row(note...)
		err = nil
	}
	if err == nil {
		err = t.end()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // a list that ends early must not look whole
	}
	return nil
}

func cellsOf(v entryView) (cells []string) {
	for _, name := range entryColumns {
		cells = append(cells, cellOf(v[name]))
		delete(v, name)
	}
	erased, hash := cellOf(v["erased"]), cellOf(v["hash"])
	delete(v, "erased")
	delete(v, "hash")
	more := ""
	if len(v) > 0 {
		more = string(value(v))
	}
	return append(cells, more, erased, hash)
}

func cellOf(v jsontext.Value) string {
	if v.Kind() != '"' {
		return strings.Trim(string(v), " ")
	}
	var text string
	_ = json.Unmarshal(v, &text)
	return text
}
