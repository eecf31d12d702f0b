package audit

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Action is what an entry tells of a management action. What cannot be erased
// later says who did what to which key, and when; free text, addresses and what
// the client says of itself stand in the details.
type Action struct {
	Name       string // such as key.rotate
	Key        string
	Org        string // the key's, or the one that was changed
	Credential uint32
	Revision   uint64   // of the key or org from then on
	Keys       []string // if there were several, at most MaxKeys
	Count      int      // how many there were in all

	Changes  Changes // of fields that name nobody
	Personal Changes // of the others; only their names stay
}

// MaxKeys is how many keys one entry names.
const MaxKeys = 1000

// Changes are the fields that became others, by their names in the management
// API. Never a secret, nor anything that one could be tried with.
type Changes map[string]Change

// Change is a field before and after; nil is none.
type Change struct {
	Before any `json:"before"`
	After  any `json:"after"`
}

type actionPayload struct {
	Action     string   `json:"action"`
	Actor      string   `json:"actor"`
	RequestID  string   `json:"request_id,omitempty"`
	Key        string   `json:"key,omitempty"`
	Org        string   `json:"org,omitempty"`
	Credential uint32   `json:"credential,omitempty"`
	Revision   uint64   `json:"revision,omitempty"`
	Force      bool     `json:"force,omitempty"`
	Count      int      `json:"count,omitempty"`
	Keys       []string `json:"keys,omitempty"`
	Changed    []string `json:"changed,omitempty"`
	Changes    Changes  `json:"changes,omitempty"`
}

type actionDetails struct {
	Address   string  `json:"address,omitempty"`
	ClaimedBy string  `json:"claimed_by,omitempty"`
	Changes   Changes `json:"changes,omitempty"`
}

// Draft returns the entry of an action whose origin is that of ctx.
func (a Action) Draft(ctx context.Context, now time.Time) Draft {
	o := OriginOf(ctx)
	payload := actionPayload{
		Action: a.Name, Actor: o.Actor, RequestID: o.RequestID, Key: a.Key, Org: a.Org, Credential: a.Credential,
		Revision: a.Revision, Force: o.Force, Count: a.Count, Keys: a.Keys,
		Changed: slices.Sorted(maps.Keys(a.Personal)), Changes: a.Changes,
	}
	details := actionDetails{o.Address, o.ClaimedBy, a.Personal}
	payload.Changed = append(payload.Changed, slices.Sorted(maps.Keys(a.Changes))...)
	slices.Sort(payload.Changed)
	d := Draft{Time: now, Payload: marshal(payload)}
	if o.Address != "" || o.ClaimedBy != "" || len(a.Personal) > 0 {
		d.Details = marshal(details)
	}
	// Fields are bounded so that this does not happen; if it does, the action
	// must still be possible, and its entry must say that something is missing.
	if len(d.Payload) > MaxEntry/2 {
		payload.Changes = Changes{"…": {After: "too large to be kept"}}
		d.Payload = marshal(payload)
	}
	if len(d.Details) > MaxEntry/2 {
		details.Changes = Changes{"…": {After: "too large to be kept"}}
		d.Details = marshal(details)
	}
	return d
}

// About is what entries of both trails are chosen by.
type About struct {
	Action string   `json:"action"`
	Actor  string   `json:"actor"`
	Key    string   `json:"key"`
	Org    string   `json:"org"`
	Keys   []string `json:"keys"`
}

// About reads what e is about. What its payload does not say is empty.
func (e *Entry) About() (a About) {
	_ = json.Unmarshal(e.Payload, &a)
	return a
}

// Names reports whether the entry is about a key.
func (a *About) Names(key string) bool { return a.Key == key || slices.Contains(a.Keys, key) }

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a value of a type that JSON does not have: a fault of the program
	}
	return b
}
