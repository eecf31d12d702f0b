package adminapi

import (
	"bytes"
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
	"github.com/caddy-apikey/caddy-apikey/usage"
)

var auditParams = append([]string{"action", "actor", "format", "key", "org", "since", "trail", "until"}, pageParams...)

const (
	// maxPageBytes is when a page of the trail ends before its limit.
	maxPageBytes = 4 << 20

	// maxOld is how many entries in a row may be older than since while newer ones
	// are looked for behind them: numbers go by what was first, and clocks are set.
	maxOld = 100_000
)

// entryFilter selects entries of a trail; what is empty selects all.
type entryFilter struct {
	key, org, actor, action string
	address                 string
	span                    usage.Span

	old int // how many in a row were too old
}

func (f *entryFilter) matches(e *audit.Entry) bool {
	if e.Time.Before(f.span.Since) || !f.span.Until.IsZero() && !e.Time.Before(f.span.Until) {
		return false
	}
	if f.key == "" && f.org == "" && f.actor == "" && f.action == "" && f.address == "" {
		return true
	}
	if f.key != "" && !bytes.Contains(e.Payload, []byte(f.key)) {
		return false // most entries, and their payload need not be read
	}
	about := e.About()
	return (f.key == "" || about.Names(f.key)) && (f.org == "" || about.Org == f.org) &&
		(f.actor == "" || about.Actor == f.actor) && (f.action == "" || about.Action == f.action) &&
		(f.address == "" || addressOf(e) == f.address)
}

// over is told of each entry, backwards, and reports whether those that follow
// need not be looked at, as all of them are too old.
func (f *entryFilter) over(e *audit.Entry) bool {
	if !e.Time.Before(f.span.Since) {
		f.old = 0
		return false
	}
	f.old++
	return f.old > maxOld
}

func addressOf(e *audit.Entry) string {
	var d struct {
		Address string `json:"address"`
	}
	_ = json.Unmarshal(e.Details, &d)
	return d.Address
}

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
	f := entryFilter{key: query.Get("key"), org: query.Get("org"), actor: query.Get("actor"), action: query.Get("action")}
	if f.key != "" && !keyring.ValidKeyID(f.key) {
		return refusal(invalidQuery, "key is the id of a key, such as key_…; it may be a deleted one.")
	}
	if f.span, err = span(query, time.Now(), 0); err != nil {
		return err
	}
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
		return c.auditCSV(trail, &f)
	}
	before, err := entryPlace(after)
	if err != nil {
		return err
	}
	views, next, size := []entryView{}, "", 0
	err = trail.TrailBack(c.r.Context(), before, func(e *audit.Entry) bool {
		if f.over(e) {
			return false
		}
		if !f.matches(e) {
			return true
		}
		if len(views) == limit || size > maxPageBytes {
			return false
		}
		views, size = append(views, viewEntry(e)), size+len(e.Payload)+len(e.Details)
		next = strconv.FormatUint(e.Seq, 10)
		return true
	})
	damaged := errors.Is(err, keyring.ErrDamaged) && len(views) > 0
	if err != nil && !damaged {
		return err
	}
	if len(views) < limit && size <= maxPageBytes {
		next = ""
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
func (c *call) auditCSV(trail audit.Trail, f *entryFilter) error {
	t := c.csv("audit", append(entryColumns[:len(entryColumns):len(entryColumns)], "more", "erased", "hash")...)
	err := trail.TrailBack(c.r.Context(), 0, func(e *audit.Entry) bool {
		if f.over(e) {
			return false
		}
		if f.matches(e) {
			t.row(cellsOf(viewEntry(e))...)
		}
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
