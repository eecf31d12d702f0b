package bolt

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

const (
	maxID     = 255     // bytes of a key's id or an org's name
	maxRecord = 1 << 20 // bytes of an encoded record
	packed    = 0.9     // how full pages get that are only appended to
)

// validate checks what can be told of a mutation by itself.
func validate(m *keyring.Mutation) error {
	bad := func(field, reason string) error { return &keyring.InvalidError{Field: field, Reason: reason} }
	var id string
	var revision uint64
	switch {
	case m.Key != nil && m.Org != nil:
		return bad("mutation", "has both a key and an org; set one of them")
	case m.Key != nil:
		id, revision = m.Key.ID, m.Key.Revision
		for i, p := range m.Key.Allow {
			if !p.IsValid() {
				return bad(fmt.Sprintf("allow[%d]", i), "is not an address range")
			}
		}
		for i, p := range m.Key.Deny {
			if !p.IsValid() {
				return bad(fmt.Sprintf("deny[%d]", i), "is not an address range")
			}
		}
	case m.Org != nil:
		id, revision = m.Org.Name, m.Org.Revision
		for i, p := range append(slices.Clip(m.Org.Allow), m.Org.Deny...) {
			if !p.IsValid() {
				return bad(fmt.Sprintf("allow or deny[%d]", i), "is not an address range")
			}
		}
	default:
		return bad("mutation", "has neither a key nor an org; set one of them")
	}
	if id == "" || len(id) > maxID {
		return bad("id", fmt.Sprintf("must have 1 to %d bytes", maxID))
	}
	if revision != m.IfRevision+1 {
		return bad("revision", fmt.Sprintf("is %d; after revision %d comes %d", revision, m.IfRevision, m.IfRevision+1))
	}
	return nil
}

// name is a record's place: its bucket and its key in there.
type name struct {
	key bool // in keys, else in orgs
	id  string
}

func (n name) bucket() []byte {
	if n.key {
		return bucketKeys
	}
	return bucketOrgs
}

// pending is a record that the group will write.
type pending struct {
	revision uint64
	state    keyring.State
	value    []byte
	created  bool
}

// changes are what some calls, or one, want to write.
type changes struct {
	records map[name]pending
	digests map[[32]byte]string
}

func newChanges() changes {
	return changes{records: map[name]pending{}, digests: map[[32]byte]string{}}
}

// group is one commit in the making. Nothing is written until all calls have
// been checked.
type group struct {
	changes // of the calls accepted so far
	head    head
	entries []audit.Entry // of these calls

	tx      *bbolt.Tx
	keys    *bbolt.Bucket
	orgs    *bbolt.Bucket
	digests *bbolt.Bucket // hides changes.digests
}

func newGroup(tx *bbolt.Tx, h head) *group {
	return &group{changes: newChanges(), head: h, tx: tx}
}

func (g *group) open() {
	if g.keys == nil {
		g.keys, g.orgs, g.digests = g.tx.Bucket(bucketKeys), g.tx.Bucket(bucketOrgs), g.tx.Bucket(bucketDigests)
	}
}

func (g *group) bucket(n name) *bbolt.Bucket {
	if n.key {
		return g.keys
	}
	return g.orgs
}

// add checks the mutations of one call in order, each as if those before it
// were stored already, and takes all of them, with their entries, or none.
func (g *group) add(mutations []keyring.Mutation, entries []audit.Entry) error {
	g.open()
	mine := newChanges()
	for i := range mutations {
		m := &mutations[i]
		var n name
		var next pending
		var payload []byte
		if m.Key != nil {
			n = name{key: true, id: m.Key.ID}
			next = pending{revision: m.Key.Revision, state: m.Key.State}
			payload = appendKey(nil, m.Key)
		} else {
			n = name{id: m.Org.Name}
			next = pending{revision: m.Org.Revision, state: m.Org.State}
			payload = appendOrg(nil, m.Org)
		}
		if len(payload) > maxRecord {
			return &keyring.InvalidError{Field: "metadata", Reason: fmt.Sprintf("%s is larger than %d bytes in all", n.id, maxRecord)}
		}
		if err := g.step(&mine, n, &next, m.IfRevision); err != nil {
			return err
		}
		next.value = seal(n.bucket(), []byte(n.id), payload)
		mine.records[n] = next
		if m.Key == nil {
			continue
		}
		for j := range m.Key.Credentials {
			if err := g.claim(&mine, m.Key.Credentials[j].Digest, n.id); err != nil {
				return err
			}
		}
	}
	g.entries = append(g.entries, entries...)
	if len(g.records) == 0 {
		g.changes = mine
		return nil
	}
	maps.Copy(g.records, mine.records)
	maps.Copy(g.changes.digests, mine.digests)
	return nil
}

// step checks the way from the record that is stored now to next.
func (g *group) step(mine *changes, n name, next *pending, ifRevision uint64) error {
	was, stored, err := g.current(mine, n)
	switch {
	case err != nil:
		return err
	case !stored && ifRevision == 0:
		next.created = true
		return nil
	case !stored:
		return fmt.Errorf("%s: %w: it is not there", n.id, keyring.ErrConflict)
	case ifRevision == 0:
		return fmt.Errorf("%s: %w", n.id, keyring.ErrExists)
	case was.revision != ifRevision:
		return fmt.Errorf("%s: %w: it has revision %d, not %d", n.id, keyring.ErrConflict, was.revision, ifRevision)
	case was.state == keyring.StateDeleted && next.state != keyring.StateDeleted, was.state.Final() && !next.state.Final():
		return fmt.Errorf("%s: %w: it is %s", n.id, keyring.ErrState, was.state)
	}
	next.created = was.created
	return nil
}

// current returns the record n as the mutations so far leave it. Its created
// field says whether this group creates it.
func (g *group) current(mine *changes, n name) (was pending, stored bool, err error) {
	if p, ok := mine.records[n]; ok {
		return p, true, nil
	}
	if p, ok := g.records[n]; ok {
		return p, true, nil
	}
	value := g.bucket(n).Get([]byte(n.id))
	if value == nil {
		return was, false, nil
	}
	payload, err := unseal(n.bucket(), []byte(n.id), value)
	if err == nil {
		was.revision, was.state, err = peek(payload)
	}
	if err != nil {
		return was, true, fmt.Errorf("record %q: %w: %w", n.id, keyring.ErrDamaged, err)
	}
	return was, true, nil
}

// claim gives digest to key id, for ever. The zero digest is none.
func (g *group) claim(mine *changes, digest [32]byte, id string) error {
	if digest == [32]byte{} {
		return nil
	}
	owner, ok := mine.digests[digest]
	if !ok {
		owner, ok = g.changes.digests[digest]
	}
	if !ok {
		stored, err := ownerOf(g.digests, digest)
		if err != nil {
			return err
		}
		if stored == nil {
			mine.digests[digest] = id
			return nil
		}
		owner = string(stored)
	}
	if owner != id {
		return fmt.Errorf("%s: %w: another key has or had the same credential", id, keyring.ErrExists)
	}
	return nil
}

// ownerOf returns the id in the digest index, or nil.
func ownerOf(b *bbolt.Bucket, digest [32]byte) ([]byte, error) {
	value := b.Get(digest[:])
	if value == nil {
		return nil, nil
	}
	id, err := unseal(bucketDigests, digest[:], value)
	if err != nil {
		return nil, fmt.Errorf("credential index: %w: %w", keyring.ErrDamaged, err)
	}
	return id, nil
}

// put writes all changes in order of their keys: bbolt takes a large number of
// unsorted new keys in quadratic time. Then the entries have their place in t.
func (g *group) put(t *trail) error {
	g.open()
	names := slices.SortedFunc(maps.Keys(g.records), func(a, b name) int {
		return bytes.Compare([]byte(a.id), []byte(b.id))
	})
	packAppends(g.keys, firstOf(names, true))
	packAppends(g.orgs, firstOf(names, false))
	for _, n := range names {
		r := g.records[n]
		if err := g.bucket(n).Put([]byte(n.id), r.value); err != nil {
			return err
		}
		switch {
		case r.created && n.key:
			g.head.keys++
		case r.created:
			g.head.orgs++
		}
	}
	digests := slices.SortedFunc(maps.Keys(g.changes.digests), func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	if len(digests) > 0 {
		packAppends(g.digests, digests[0][:])
	}
	for _, d := range digests {
		if err := g.digests.Put(d[:], seal(bucketDigests, d[:], []byte(g.changes.digests[d]))); err != nil {
			return err
		}
		g.head.digests++
	}
	if err := t.append(&g.head.trail, g.entries); err != nil {
		return err
	}
	return g.tx.Bucket(bucketMeta).Put(metaState, g.head.encode())
}

func firstOf(names []name, key bool) []byte {
	for _, n := range names {
		if n.key == key {
			return []byte(n.id)
		}
	}
	return nil
}

// packAppends lets pages fill up where everything new comes after what is
// there, as with ids that grow with time: no page will be split later.
func packAppends(b *bbolt.Bucket, first []byte) {
	if last, _ := b.Cursor().Last(); first != nil && bytes.Compare(last, first) < 0 {
		b.FillPercent = packed
	}
}
