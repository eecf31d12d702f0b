//go:build linux

package faults

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// settle finds out what became of the open attempts: each was done or not, and
// nothing in between.
func (c *clerk) settle() error {
	for _, a := range c.open {
		if err := c.settleOne(a); err != nil {
			return fmt.Errorf("%s of unknown outcome: %w", a.operation, err)
		}
	}
	c.open = nil
	return nil
}

func (c *clerk) settleOne(a *attempt) error {
	if a.on != nil {
		got, found, err := c.s.get(a.on.id)
		if err != nil || !found {
			return fmt.Errorf("%s is gone, %v", a.on.id, err)
		}
		if got.Revision == a.on.revision+1 {
			a.on.change(a)
		}
		return nil // compared in check
	}
	// By name: what is listed must be complete.
	got, err := c.s.list("&q=" + a.name)
	if err != nil {
		return err
	}
	got = slices.DeleteFunc(got, func(k keyView) bool { return k.Name != a.name && !strings.HasPrefix(k.Name, a.name+"-") })
	if want := max(1, len(a.tokens)); len(got) != 0 && len(got) != want {
		return fmt.Errorf("half done: %d of %d keys", len(got), want)
	}
	for _, k := range got {
		e := &entry{id: k.ID, name: k.Name, revision: 1, credentials: 1}
		for i, token := range a.tokens {
			if k.Name == fmt.Sprintf("%s-%d", a.name, i) {
				e.tokens = []string{token}
			}
		}
		c.enter(e)
	}
	for _, token := range a.tokens {
		if len(got) > 0 {
			continue // compared in check
		}
		if status, err := ask(context.Background(), c.s.client, "GET", "http://"+c.s.site+"/", token); err != nil || status != http.StatusUnauthorized {
			return fmt.Errorf("not stored, but its token is answered %d, %v", status, err)
		}
	}
	return nil
}

// check compares the book with the running server: the entries that changed
// since the last check, or all, and then that there are no others either.
func (b *book) check(all bool) error {
	for _, c := range b.clerks {
		if err := c.settle(); err != nil {
			return err
		}
	}
	stored := make(map[string]keyView)
	total := 0
	if all {
		keys, err := b.s.list("")
		if err != nil {
			return err
		}
		for _, k := range keys {
			stored[k.ID] = k
		}
	}
	for _, c := range b.clerks {
		total += len(c.entries)
		entries := slices.Collect(maps.Keys(c.fresh))
		if all {
			entries = c.entries
		}
		for _, e := range entries {
			got, found := stored[e.id]
			if !all {
				var err error
				if got, found, err = b.s.get(e.id); err != nil {
					return err
				}
			}
			if !found {
				return fmt.Errorf("lost: %s (%s)", e.id, e.name)
			}
			if err := b.compare(e, got, c.fresh[e]); err != nil {
				return err
			}
		}
		clear(c.fresh)
	}
	if all && total != len(stored) {
		return fmt.Errorf("%d keys are stored, %d were acknowledged or may be", len(stored), total)
	}
	if all {
		if err := b.checkTrail(stored); err != nil {
			return err
		}
	}
	return b.s.verifyTrail()
}

func (b *book) compare(e *entry, got keyView, decisions bool) error {
	state := "active"
	if e.revoked {
		state = "revoked"
	}
	if got.Name != e.name || got.State != state || got.Revision != e.revision || len(got.Credentials) != e.credentials ||
		!e.revoked && (got.Rotation != nil) != (e.credentials > 1) {
		return fmt.Errorf("stored %+v, acknowledged %s %s, revision %d, %d credentials", got, e.name, state, e.revision, e.credentials)
	}
	if !decisions {
		return nil
	}
	want := http.StatusOK
	if e.revoked {
		want = http.StatusUnauthorized
	}
	for i, token := range e.tokens {
		if status, err := ask(context.Background(), b.s.client, "GET", "http://"+b.s.site+"/", token); err != nil || status != want {
			return fmt.Errorf("%s, token %d, %s: answered %d, %v; want %d", e.id, i+1, state, status, err, want)
		}
	}
	return nil
}

func (b *book) sum(what func(*clerk) int) (n int) {
	for _, c := range b.clerks {
		n += what(c)
	}
	return n
}

func (b *book) acknowledged() int { return b.sum(func(c *clerk) int { return c.acknowledged }) }
func (b *book) unknown() int      { return b.sum(func(c *clerk) int { return c.unknown }) }
func (b *book) keys() int         { return b.sum(func(c *clerk) int { return len(c.entries) }) }
