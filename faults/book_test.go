//go:build linux

package faults

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// book is what the answers to management requests say that the store holds.
// Several clerks fill it at the same time, each with keys of its own.
type book struct {
	s      *server
	clerks []*clerk
}

// clerk does one management operation after the other and notes its answer.
type clerk struct {
	s       *server
	name    string
	serial  int
	entries []*entry
	fresh   map[*entry]bool // changed, or tried to, since the last check
	open    []*attempt      // whose outcome is not known

	acknowledged int
	refused      int // with an answer that says that nothing was changed
	unknown      int // open ones, in all
}

// entry is one key.
type entry struct {
	id, name    string
	revoked     bool
	revision    uint64
	credentials int
	tokens      []string // those that were seen; all are in force unless revoked
}

// attempt is an operation whose answer did not come, or said that the outcome
// is not known: it was done or not, as a whole.
type attempt struct {
	operation string
	on        *entry
	name      string   // that a creation or an edit gives
	tokens    []string // that an import brings
}

func newBook(s *server, clerks int) *book {
	b := &book{s: s}
	for i := range clerks {
		b.clerks = append(b.clerks, &clerk{s: s, name: fmt.Sprintf("clerk%d", i), fresh: map[*entry]bool{}})
	}
	return b
}

// work lets all clerks work until ctx ends or the server does not answer.
func (b *book) work(ctx context.Context) error {
	errs := make([]error, len(b.clerks))
	var wg sync.WaitGroup
	for i, c := range b.clerks {
		wg.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				var answered bool
				if answered, errs[i] = c.step(); !answered {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// step tries one operation. answered is false where the connection failed.
func (c *clerk) step() (answered bool, err error) {
	c.serial++
	a := &attempt{name: fmt.Sprintf("%s-%d", c.name, c.serial)}
	var method, path, body string
	switch dice := mathrand.IntN(10); {
	case dice < 3:
		a.operation, a.on = "edit", c.pick(func(e *entry) bool { return !e.revoked })
	case dice < 5:
		a.operation, a.on = "rotate", c.pick(func(e *entry) bool { return !e.revoked && e.credentials == 1 })
	case dice < 6:
		a.operation, a.on = "revoke", c.pick(func(e *entry) bool { return !e.revoked })
	case dice < 7:
		a.operation = "import"
	}
	if a.operation != "import" && a.on == nil {
		a.operation = "create"
	}
	switch a.operation {
	case "create":
		method, path, body = "POST", "/keys", fmt.Sprintf(`{"name":%q,"scopes":["contacts:read"]}`, a.name)
	case "import":
		method, path = "POST", "/import"
		var keys []string
		for i := range 3 {
			a.tokens = append(a.tokens, rand.Text()+rand.Text())
			keys = append(keys, fmt.Sprintf(`{"name":"%s-%d","scopes":["contacts:read"],"token":%q}`, a.name, i, a.tokens[i]))
		}
		body = `{"keys":[` + strings.Join(keys, ",") + `]}`
	case "edit":
		method, path, body = "PATCH", "/keys/"+a.on.id, fmt.Sprintf(`{"name":%q}`, a.name)
	default:
		method, path = "POST", "/keys/"+a.on.id+"/"+a.operation+"?force=true" // used or not
	}
	if a.on != nil {
		c.fresh[a.on] = true
	}
	// An operation that was begun is waited for: its answer is what counts.
	r, err := c.s.manage(context.Background(), method, path, body)
	if err != nil {
		c.open = append(c.open, a)
		c.unknown++
		return false, nil
	}
	switch {
	case r.status < 300:
		c.acknowledged++
		return true, c.apply(a, r)
	case r.status == http.StatusServiceUnavailable && strings.Contains(string(r.body), "#outcome-unknown"):
		c.open = append(c.open, a)
		c.unknown++
		return true, nil
	case strings.Contains(string(r.body), "#busy"):
		return true, nil // two imports at a time
	case r.status == http.StatusServiceUnavailable, r.status == http.StatusInsufficientStorage:
		c.refused++
		if !slices.ContainsFunc([]string{"Nothing was changed: ", "#not-running"}, func(text string) bool { return strings.Contains(string(r.body), text) }) {
			return true, fmt.Errorf("%s: refused without a cause: %s", a.operation, r.body)
		}
		return true, nil
	}
	return true, fmt.Errorf("%s %s: %d %s", method, path, r.status, r.body)
}

// pick returns an entry with nothing open, or nil.
func (c *clerk) pick(fits func(*entry) bool) *entry {
	for range 5 {
		if len(c.entries) == 0 {
			return nil
		}
		e := c.entries[mathrand.IntN(len(c.entries))]
		if fits(e) && !slices.ContainsFunc(c.open, func(a *attempt) bool { return a.on == e }) {
			return e
		}
	}
	return nil
}

// apply notes what an answer acknowledged.
func (c *clerk) apply(a *attempt, r reply) error {
	var answer struct {
		Key   keyView
		Token string
		IDs   []string
	}
	if err := json.Unmarshal(r.body, &answer); err != nil {
		return fmt.Errorf("%s: %w", a.operation, err)
	}
	switch a.operation {
	case "create":
		c.enter(&entry{id: answer.Key.ID, name: a.name, revision: 1, credentials: 1, tokens: []string{answer.Token}})
	case "import":
		if len(answer.IDs) != len(a.tokens) {
			return fmt.Errorf("%d of %d keys imported: %s", len(answer.IDs), len(a.tokens), r.body)
		}
		for i, id := range answer.IDs {
			c.enter(&entry{id: id, name: fmt.Sprintf("%s-%d", a.name, i), revision: 1, credentials: 1, tokens: []string{a.tokens[i]}})
		}
	default:
		a.on.change(a)
		if answer.Token != "" {
			a.on.tokens = append(a.on.tokens, answer.Token)
		}
	}
	return nil
}

func (c *clerk) enter(e *entry) {
	c.entries = append(c.entries, e)
	c.fresh[e] = true
}

// change is what an operation does to an entry.
func (e *entry) change(a *attempt) {
	e.revision++
	switch a.operation {
	case "edit":
		e.name = a.name
	case "rotate":
		e.credentials++
	case "revoke":
		e.revoked = true
	}
}
