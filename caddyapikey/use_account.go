package caddyapikey

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

// account is one request on its way into the record of use. The zero account
// records nothing.
type account struct {
	use     *useRecord
	counted usage.Counted
	call    usage.CallSeen // of a proven key
	answer  *answerMeter   // nil if it was not handed on
	ending  ending
}

// openAccount counts a request for the key that it proved, or for a stranger who
// was refused. Requests that need no key and have none are not counted: they are
// nobody's. Nor are those of denied addresses, who would fill the table of
// strangers; the metrics count them.
func (h *Handler) openAccount(a *account, r *http.Request, d *decision) {
	use := h.app.use.Load()
	if use == nil || d.key.IsZero() && d.why == nil || d.why.denies() {
		return
	}
	began, request := time.Now(), uint64(0)
	if d.audit != nil {
		began, request = d.audit.began, d.audit.request
	}
	addr := d.client(r)
	u := usage.Use{
		Route:    h.placeOf(r).routes.number(h, use, routeKey{d.rules, methodCode(r.Method)}),
		Reason:   reasonNumber(d.why),
		Observed: d.why != nil && h.Mode != modeEnforce,
		Place:    usage.PlaceOf(addr),
	}
	if !d.key.IsZero() {
		d.key.AppendID(u.Key[:0])
		u.Credential = d.key.Credential()
	}
	a.use = use
	a.counted = use.Begin(&u, began)
	if d.key.IsZero() {
		return
	}
	if d.why == nil {
		for _, scope := range d.filled {
			use.Scope(u.Key, scope, began)
		}
	}
	if request == 0 {
		request = use.NextRequestID()
	}
	a.call = usage.CallSeen{
		Key:        u.Key,
		Credential: u.Credential,
		Route:      u.Route,
		Reason:     u.Reason,
		Observed:   u.Observed,
		Began:      began,
		Method:     r.Method,
		Path:       originalURI(r),
		RequestID:  request,
		UserAgent:  firstLine(r.Header["User-Agent"]),
		Addr:       addr,
	}
}

// meter returns a writer that notes the status and counts the bytes. Where the
// server does so for its access log, that is enough.
func (a *account) meter(w http.ResponseWriter, own *answerMeter) http.ResponseWriter {
	if a.use == nil && a.ending.at.IsZero() {
		return w
	}
	a.answer = own
	own.ResponseWriter, own.ending = w, a.ending
	if recorder, ok := w.(caddyhttp.ResponseRecorder); ok && a.ending.at.IsZero() {
		own.recorder = recorder
		return w
	}
	return own
}

// close counts the answer.
func (a *account) close(d *decision, enforced bool, err error) {
	if a.use == nil {
		return
	}
	status, size := statusOf(err), 0
	switch {
	case a.answer != nil:
		var written int
		if written, size = a.answer.result(); written != 0 {
			status = written
		}
	case d.why != nil && enforced:
		status = d.why.status
	}
	a.counted.End(status, uint64(size))
	if d.key.IsZero() {
		return
	}
	a.call.Status, a.call.Bytes = status, uint64(size)
	a.call.Duration = time.Since(a.call.Began)
	a.use.Call(&a.call)
}

// answered reports whether an answer was begun.
func (a *account) answered() bool {
	if a.answer == nil {
		return false
	}
	status, _ := a.answer.result()
	return status != 0
}

// answerMeter counts what is written. It is a part of the visitor, so that it
// costs no allocation of its own.
type answerMeter struct {
	http.ResponseWriter
	recorder caddyhttp.ResponseRecorder // counts in its place, if set
	status   int
	size     int
	ending   ending    // what the answer says of the credential, if at is set
	vary     [1]string // its line of Vary
}

func (m *answerMeter) result() (status, size int) {
	if m.recorder != nil {
		return m.recorder.Status(), m.recorder.Size()
	}
	return m.status, m.size
}

// Unwrap lets http.ResponseController flush, hijack and set deadlines.
func (m *answerMeter) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// WriteHeader notes the status that is not merely informational.
func (m *answerMeter) WriteHeader(status int) {
	if m.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		m.status = status
		if !m.ending.at.IsZero() {
			m.ending.set(m.Header()) // in place of what the upstream says of itself
		}
	}
	m.ResponseWriter.WriteHeader(status)
}

// Write counts what was written.
func (m *answerMeter) Write(p []byte) (int, error) {
	m.begin()
	n, err := m.ResponseWriter.Write(p)
	m.size += n
	return n, err
}

// ReadFrom lets the server send files by the kernel.
func (m *answerMeter) ReadFrom(r io.Reader) (int64, error) {
	m.begin()
	n, err := io.Copy(m.ResponseWriter, r)
	m.size += int(n)
	return n, err
}

// FlushError writes the header first.
func (m *answerMeter) FlushError() error {
	m.begin()
	return http.NewResponseController(m.ResponseWriter).Flush()
}

func (m *answerMeter) begin() {
	if m.status == 0 {
		m.WriteHeader(http.StatusOK)
	}
}

// routeNumbers has the numbers of the sets of rules that requests met.
type routeNumbers struct {
	mu  sync.Mutex // of writers
	now atomic.Pointer[routeTable]
}

type routeTable struct {
	use    *useRecord // whose numbers they are
	byKey  map[routeKey]usage.RouteNo
	others usage.RouteNo // for those beyond maxRouteKeys: the site alone
}

// routeKey is what a request met: the rules, and its method as an index into
// methodNames.
type routeKey struct {
	rules  ruleSet
	method uint8
}

var methodNames = [...]string{"other", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

func methodCode(method string) uint8 { return uint8(max(slices.Index(methodNames[:], method), 0)) }

// maxRouteKeys bounds what is told apart on one handler: callers choose which
// rules match.
const maxRouteKeys = 1024

func (n *routeNumbers) number(h *Handler, use *useRecord, key routeKey) usage.RouteNo {
	if t := n.now.Load(); t != nil && t.use == use {
		if no, ok := t.byKey[key]; ok {
			return no
		}
		if len(t.byKey) >= maxRouteKeys {
			return t.others
		}
	}
	return n.add(h, use, key)
}

func (n *routeNumbers) add(h *Handler, use *useRecord, key routeKey) usage.RouteNo {
	site := h.place.Load().site.name
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.now.Load()
	if old == nil || old.use != use {
		old = &routeTable{use: use, others: use.Route(usage.Route{Site: site})}
	}
	no := use.Route(usage.Route{Site: site, Rules: h.ruleNames(&key.rules), Method: methodNames[key.method]})
	next := &routeTable{use: use, byKey: maps.Clone(old.byKey), others: old.others}
	if next.byKey == nil {
		next.byKey = make(map[routeKey]usage.RouteNo)
	}
	next.byKey[key] = no
	n.now.Store(next)
	return no
}

// reasonNumbers has the number of each refusal, as the record of use knows it.
var reasonNumbers sync.Map // usage.ReasonNo by *refusal

func reasonNumber(why *refusal) usage.ReasonNo {
	if why == nil {
		return 0
	}
	no, ok := reasonNumbers.Load(why)
	if !ok {
		no, _ = reasonNumbers.LoadOrStore(why, usage.NumberOf(why.reason))
	}
	return no.(usage.ReasonNo)
}

// statusOf returns the status that Caddy answers an error with.
func statusOf(err error) int {
	if err == nil {
		return 0
	}
	if he, ok := err.(caddyhttp.HandlerError); ok && he.StatusCode != 0 {
		return he.StatusCode
	}
	return http.StatusInternalServerError
}

// Interface guards
var (
	_ http.ResponseWriter = (*answerMeter)(nil)
	_ io.ReaderFrom       = (*answerMeter)(nil)
)
