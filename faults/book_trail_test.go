//go:build linux

package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// trailEntry is what these tests read of an entry of the trail.
type trailEntry struct {
	Seq      uint64
	Action   string
	Key      string
	Keys     []string
	Revision uint64
}

// trail reads the whole trail of management actions.
func (s *server) trail() (all []trailEntry, err error) {
	for after := ""; ; {
		r, err := s.manage(s.t.Context(), "GET", "/audit?limit=500"+after, "")
		if err != nil {
			return nil, err
		}
		if r.status != http.StatusOK {
			return nil, fmt.Errorf("reading the trail: %d %s", r.status, r.body)
		}
		var page struct {
			Entries []trailEntry
			Next    *string
			Damaged bool
		}
		if err := json.Unmarshal(r.body, &page); err != nil {
			return nil, err
		}
		if page.Damaged {
			return nil, fmt.Errorf("damaged entries: %s", r.body)
		}
		all = append(all, page.Entries...)
		if page.Next == nil {
			return all, nil
		}
		after = "&after=" + url.QueryEscape(*page.Next)
	}
}

// verifyTrail checks that the trails are as they were written.
func (s *server) verifyTrail() error {
	r, err := s.manage(s.t.Context(), "GET", "/audit/verify", "")
	if err != nil {
		return err
	}
	var v struct{ OK bool }
	if err := json.Unmarshal(r.body, &v); err != nil || !v.OK {
		return fmt.Errorf("the trail: %d %s %w", r.status, r.body, err)
	}
	return nil
}

// checkTrail checks that every key has one entry for each of its revisions: no
// change is without one, whoever heard of it, and there is none without a change.
func (b *book) checkTrail(stored map[string]keyView) error {
	entries, err := b.s.trail()
	if err != nil {
		return err
	}
	type change struct {
		key      string
		revision uint64
	}
	told := make(map[change]int)
	for _, e := range entries {
		switch e.Action {
		case "import":
			for _, key := range e.Keys {
				told[change{key, 1}]++
			}
		case "key.create", "key.edit", "key.rotate", "key.revoke":
			told[change{e.Key, e.Revision}]++
		}
	}
	changes := 0
	for id, key := range stored {
		for revision := uint64(1); revision <= key.Revision; revision++ {
			changes++
			if n := told[change{id, revision}]; n != 1 {
				return fmt.Errorf("revision %d of %s has %d entries in the trail", revision, id, n)
			}
		}
	}
	if changes != len(told) {
		return fmt.Errorf("%d changes, and entries of %d", changes, len(told))
	}
	return nil
}
