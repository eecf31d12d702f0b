package keyring

import (
	"slices"
	"sync/atomic"
)

type profile struct {
	orgName     string
	tier        string
	roles       []string
	origins     []string
	signing     Signing
	grants      *Grants
	allow, deny *Addrs
}
type orgRecord struct {
	state       State
	tier        string
	allow, deny *Addrs
	metadata    map[string]string
}
type index struct{ cur atomic.Pointer[snapshot] }
type snapshot struct {
	keys map[string]*Key
	dig  map[[32]byte]entry
	orgs map[string]*orgRecord
}
type entry struct {
	s *snapshot
	k *Key
	c *Credential
	p *profile
}

func newIndex(int) *index {
	ix := &index{}
	ix.cur.Store(&snapshot{})
	return ix
}
func (ix *index) snapshot() *snapshot { return ix.cur.Load() }
func (ix *index) apply(rs []Record) {
	old := ix.cur.Load()
	n := &snapshot{keys: map[string]*Key{}, dig: map[[32]byte]entry{}, orgs: map[string]*orgRecord{}}
	for k, v := range old.keys {
		n.keys[k] = v
	}
	for k, v := range old.orgs {
		n.orgs[k] = v
	}
	for _, r := range rs {
		if r.Org != nil {
			n.orgs[r.Org.Name] = &orgRecord{r.Org.State, r.Org.Tier, compileAddrs(r.Org.Allow), compileAddrs(r.Org.Deny), r.Org.Metadata}
		}
		if r.Key != nil {
			n.keys[r.Key.ID] = r.Key
			if r.Key.State == StateDeleted {
				delete(n.keys, r.Key.ID)
			}
		}
	}
	for _, k := range n.keys {
		p := &profile{k.Org, k.Tier, k.Roles, k.Origins, k.Signing, compileGrants(k.Scopes), compileAddrs(k.Allow), compileAddrs(k.Deny)}
		for i := range k.Credentials {
			n.dig[k.Credentials[i].Digest] = entry{n, k, &k.Credentials[i], p}
		}
	}
	ix.cur.Store(n)
}
func (s *snapshot) byDigest(d *[32]byte) (entry, bool) { e, ok := s.dig[*d]; return e, ok }
func (s *snapshot) stats() (int, int, int)             { return len(s.keys), len(s.dig), 0 }
func (s *snapshot) hasOrigin(o string) bool {
	for _, k := range s.keys {
		if slices.Contains(k.Origins, o) {
			return true
		}
	}
	return false
}
func (e entry) isZero() bool       { return e.k == nil }
func (e entry) kind() Kind         { return e.c.Kind }
func (e entry) state() State       { return e.k.State }
func (e entry) ended() bool        { return !e.c.EndedAt.IsZero() }
func (e entry) credential() uint32 { return e.c.N }
func (e entry) profile() *profile  { return e.p }
func (e entry) org() *orgRecord    { return e.s.orgs[e.k.Org] }
func (e entry) keyID() string      { return e.k.ID }
func (e entry) name() string       { return e.k.Name }
func (e entry) owner() string      { return e.k.Owner }
func (e entry) meta(n string) (string, bool) {
	v, ok := e.k.Metadata[n]
	return v, ok
}
func (e entry) hasTag(t string) bool { return slices.Contains(e.k.Tags, t) }
func (e entry) notBefore() int64 {
	if e.k.NotBefore.IsZero() {
		return 0
	}
	return e.k.NotBefore.UnixMilli()
}
func (e entry) expiresAt() int64 {
	a, b := e.k.ExpiresAt, e.c.ExpiresAt
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		a = b
	}
	if a.IsZero() {
		return 0
	}
	return a.UnixMilli()
}
