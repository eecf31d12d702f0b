package audit

import (
	"bytes"
	"encoding/json"
	"time"
)

// Search selects entries of a trail; what is zero selects all.
type Search struct {
	Before       uint64    // entries with a number below this one
	Since, Until time.Time // from the one, before the other

	Key, Org, Actor, Action string
	Address                 string // in the details

	// Most is how many entries are looked at, selected or not.
	Most int
}

// Clocks are set, numbers are not: an entry may be older than those before it.
// So a span is over where ClockRun entries in a row are outside it, and by more
// than ClockSlack. Entries of a clock that was wrong by more than that may
// themselves not be found by their time; they hide others only if they are more
// than ClockRun.
const (
	ClockSlack = 24 * time.Hour
	ClockRun   = 4096
)

// Matches reports whether s selects e, Before aside.
func (s *Search) Matches(e *Entry) bool {
	if !s.within(e.Time) {
		return false
	}
	if s.Key == "" && s.Org == "" && s.Actor == "" && s.Action == "" && s.Address == "" {
		return true
	}
	about := e.About()
	return (s.Key == "" || about.Names(s.Key)) && (s.Org == "" || about.Org == s.Org) &&
		(s.Actor == "" || about.Actor == s.Actor) && (s.Action == "" || about.Action == s.Action) &&
		(s.Address == "" || s.Address == e.address())
}

func (s *Search) within(t time.Time) bool {
	return !t.Before(s.Since) && (s.Until.IsZero() || t.Before(s.Until))
}

func (e *Entry) address() string {
	var d struct {
		Address string `json:"address"`
	}
	_ = json.Unmarshal(e.Details, &d)
	return d.Address
}

// Sieve is what a store goes through a trail with, from its end to its beginning:
// most of what a search does not select need not be decoded.
type Sieve struct {
	Search
	texts [][]byte // stand in the payload of every entry that is selected
	old   int      // entries in a row that are too old
}

// Sieve returns one for s.
func (s Search) Sieve() *Sieve {
	sieve := &Sieve{Search: s}
	for _, text := range []string{s.Key, s.Org, s.Actor, s.Action} {
		if plain(text) {
			sieve.texts = append(sieve.texts, []byte(`"`+text+`"`))
		}
	}
	return sieve
}

// plain reports whether JSON has a text as it is.
func plain(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || bytes.IndexByte([]byte(`"\<>&`), c) >= 0 {
			return false
		}
	}
	return text != ""
}

// Skip reports whether the search does not select the entry that AppendBinary made
// data of. It lets some pass that Matches refuses.
func (s *Sieve) Skip(data []byte) bool {
	at, _, payload, _, ok := parse(data)
	if !ok {
		return false // decoding says what is wrong
	}
	if s.Since.IsZero() || !at.Before(s.Since.Add(-ClockSlack)) {
		s.old = 0
	} else {
		s.old++
	}
	if !s.within(at) {
		return true
	}
	for _, text := range s.texts {
		if !bytes.Contains(payload, text) {
			return true
		}
	}
	return false
}

// Over reports whether all that follows is too old.
func (s *Sieve) Over() bool { return s.old >= ClockRun }

// Late reports whether the entry that AppendBinary made data of is at least this
// long after the span; one that cannot be read is not.
func (s *Sieve) Late(data []byte, by time.Duration) bool {
	at, _, _, _, ok := parse(data)
	return ok && !s.Until.IsZero() && !at.Before(s.Until.Add(by))
}
