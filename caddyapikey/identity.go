package caddyapikey

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// Forward tells the upstream one thing about the key.
type Forward struct {
	// What to tell: `id`, `name`, `org`, `tier`, `owner`, `credential`,
	// `request_id` or `meta.` and the name of a metadata entry.
	Field string `json:"field"`

	// The header to tell it in.
	Header string `json:"header"`
}

// identityKey is the placeholder under which the matcher finds the key itself.
// No configuration can name it.
const identityKey = "\x00api_key"

// identity gives the placeholders of one request their values, when they are
// asked for. Its key is nobody on a request that passed without one: then they
// are empty, instead of standing as they are written.
type identity struct {
	key     keyring.Proven
	addr    netip.Addr // of a client without a key, the zero Addr if it is not known
	request uint64     // its number in the record of use, 0 if there is none
	answer  answerMeter
}

// introduceNobody makes known that the request passes without a key.
func (h *Handler) introduceNobody(r *http.Request, d *decision) *answerMeter {
	return h.introduce(r, &identity{addr: d.client(r)})
}

// introduce makes the key, or nobody, known to the handlers behind us and, as
// configured, to the upstream. It returns a meter for the answer.
func (h *Handler) introduce(r *http.Request, now *identity) *answerMeter {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	known, _ := repl.Get(identityKey)
	id, again := known.(*identity)
	var meter *answerMeter
	if again {
		id.key, id.addr, id.request = now.key, now.addr, now.request // a second handler decided anew
		meter = new(answerMeter)
	} else {
		id = now
		meter = &id.answer
		repl.Map(id.placeholder)
	}
	for _, f := range h.Forward {
		if value, _ := id.field(f.Field); value != "" {
			r.Header.Set(f.Header, value)
		}
	}
	return meter
}

// placeholder is a provider of Caddy's replacer.
func (id *identity) placeholder(name string) (any, bool) {
	if name == identityKey {
		return id, true
	}
	if name == "http.auth.user.id" {
		name = "http.api_key.id"
	}
	field, ours := strings.CutPrefix(name, "http.api_key.")
	if !ours {
		return nil, false
	}
	switch field {
	case "caller":
		return id.caller(), true
	case "org_or_caller":
		if org := id.org(); org != "" {
			return "org:" + org, true // an org may be called like a key
		}
		return id.caller(), true
	}
	return id.field(field)
}

// caller names who is to be counted as one: the key, or all who have none at one
// place. It is never empty, so that strangers do not share one limit, which each
// could use up for all.
func (id *identity) caller() string {
	if id.key.IsZero() {
		return "anonymous:" + usage.PlaceOf(id.addr).String()
	}
	return id.key.ID()
}

func (id *identity) org() string {
	if id.key.IsZero() {
		return ""
	}
	return id.key.Org()
}

// field returns one thing about the key; false if there is no such field.
func (id *identity) field(name string) (string, bool) {
	if id.key.IsZero() {
		return "", isField(name)
	}
	switch name {
	case "id":
		return id.key.ID(), true
	case "name":
		return id.key.Name(), true
	case "org":
		return id.key.Org(), true
	case "tier":
		return id.key.Tier(), true
	case "owner":
		return id.key.Owner(), true
	case "credential":
		return strconv.FormatUint(uint64(id.key.Credential()), 10), true
	case "request_id":
		if id.request == 0 {
			return "", true
		}
		return usage.FormatRequestID(id.request), true
	}
	if entry, ok := strings.CutPrefix(name, "meta."); ok {
		value, _ := id.key.Metadata(entry)
		return value, true
	}
	return "", false
}

// provisionForward checks what goes upstream and claims its headers.
func (h *Handler) provisionForward() error {
	var names []string
	for i := range h.Forward {
		if err := h.Forward[i].normalize(); err != nil {
			return err
		}
		names = append(names, h.Forward[i].Header)
	}
	h.owned = newHeaderOwner(names)
	return nil
}

// normalize validates what is told, and brings the header's name into canonical
// form.
func (f *Forward) normalize() error {
	if !isField(f.Field) {
		return fmt.Errorf("forward %q: write id, name, org, tier, owner, credential, request_id or meta.<name>", f.Field)
	}
	if !onlyChars(f.Header, "-") || strings.HasPrefix(f.Header, "-") {
		return fmt.Errorf("forward %s: %q is not a header name of letters, digits and '-', such as X-Key-Id", f.Field, f.Header)
	}
	f.Header = http.CanonicalHeaderKey(f.Header)
	if hasMeaning(f.Header) {
		return fmt.Errorf("forward %s: %s has a meaning of its own; choose another header, such as X-Key-Id", f.Field, f.Header)
	}
	return nil
}

// isField reports whether identity.field knows a name.
func isField(name string) bool {
	switch name {
	case "id", "name", "org", "tier", "owner", "credential", "request_id":
		return true
	}
	entry, meta := strings.CutPrefix(name, "meta.")
	return meta && entry != ""
}
