package keyring

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/limit"
)

// profile is what many keys have in common: each different one is kept once,
// with its lists compiled. What every decision reads stands first, in one cache
// line.
type profile struct {
	orgName     string // "" for none
	signing     Signing
	grants      *Grants // of scopes alone
	allow, deny *Addrs
	orgSlot     uint32 // of the org table; 0 for none

	limits  []limit.Limit
	origins []string

	clientCerts []Fingerprint

	roles  []string
	tier   string
	scopes []string
}

// orgRecord is an org as a decision needs it.
type orgRecord struct {
	name        string
	state       State
	tier        string
	allow, deny *Addrs
	metadata    map[string]string
	org         *Org // as the store has it; not to be changed
}

const pageSlots = 256

// Pages are indexed by slot; nil is a free slot, or an org without a record.
type (
	profilePage [pageSlots]*profile
	orgPage     [pageSlots]*orgRecord
)

// profiles is the writer's side of the profile table. A slot is used again
// when no key has the profile any more; older snapshots have their own pages.
type profiles struct {
	pages  cow[profilePage]
	uses   []profileUse // by slot
	free   []uint32
	byHash map[uint64]uint32
	scopes map[string]*scopeSet // by appendStrings of the list
	seed   maphash.Seed
	buf    []byte
}

// scopeSet is a list of scopes that profiles share: many orgs give their keys
// the same, and one compiled set stays in the processor's cache where a
// thousand alike would not.
type scopeSet struct {
	list     []string
	grants   *Grants
	profiles int
}

type profileUse struct {
	keys int    // keys that have the profile
	live int    // of these, keys in a state that is not final
	hash uint64 // under which byHash has it
}

func newProfiles(seed maphash.Seed) profiles {
	return profiles{
		pages:  cow[profilePage]{clone: clonePart[profilePage]},
		byHash: make(map[uint64]uint32),
		scopes: make(map[string]*scopeSet),
		seed:   seed,
	}
}

func profileAt(pages []*profilePage, slot uint32) *profile {
	return pages[slot/pageSlots][slot%pageSlots]
}

func (t *profiles) at(slot uint32) *profile { return profileAt(t.pages.parts, slot) }

// acquire returns the slot of k's profile, and whether it is a new one, whose
// org slot the caller has to set.
func (t *profiles) acquire(k *Key) (slot uint32, isNew bool) {
	hash := t.hash(k)
	for ; ; hash++ { // two profiles with one hash: the second is under the next
		found, ok := t.byHash[hash]
		if !ok {
			break
		}
		if t.at(found).is(k) {
			t.uses[found].keys++
			return found, false
		}
	}
	if n := len(t.free); n > 0 {
		slot, t.free = t.free[n-1], t.free[:n-1]
	} else {
		slot = uint32(len(t.uses))
		t.uses = append(t.uses, profileUse{})
		if slot%pageSlots == 0 {
			t.pages.add(new(profilePage))
		}
	}
	t.uses[slot] = profileUse{keys: 1, hash: hash}
	t.byHash[hash] = slot
	t.pages.writable(int(slot / pageSlots))[slot%pageSlots] = t.newProfile(k)
	return slot, true
}

// release takes one key's use back and reports whether it was the last.
func (t *profiles) release(slot uint32) (last bool) {
	use := &t.uses[slot]
	if use.keys--; use.keys > 0 {
		return false
	}
	delete(t.byHash, use.hash)
	t.releaseScopes(t.at(slot).scopes)
	t.pages.writable(int(slot / pageSlots))[slot%pageSlots] = nil
	t.free = append(t.free, slot)
	return true
}

// newProfile copies what it keeps: the key's strings may be parts of a larger
// buffer.
func (t *profiles) newProfile(k *Key) *profile {
	scopes := t.acquireScopes(k.Scopes)
	return &profile{
		orgName: strings.Clone(k.Org),
		tier:    strings.Clone(k.Tier),
		scopes:  scopes.list,
		roles:   cloneStrings(k.Roles),
		origins: cloneStrings(k.Origins),
		signing: knownSigning(k.Signing),
		grants:  scopes.grants,
		allow:   compileAddrs(slices.Clone(k.Allow)),
		deny:    compileAddrs(slices.Clone(k.Deny)),
		limits:  slices.Clone(k.Limits),

		clientCerts: slices.Clone(k.ClientCerts),
	}
}

func (t *profiles) acquireScopes(list []string) *scopeSet {
	t.buf = appendStrings(t.buf[:0], list)
	set := t.scopes[string(t.buf)]
	if set == nil {
		list = cloneStrings(list)
		set = &scopeSet{list: list, grants: compileGrants(list)}
		t.scopes[string(t.buf)] = set
	}
	set.profiles++
	return set
}

func (t *profiles) releaseScopes(list []string) {
	t.buf = appendStrings(t.buf[:0], list)
	set := t.scopes[string(t.buf)]
	if set.profiles--; set.profiles == 0 {
		delete(t.scopes, string(t.buf))
	}
}

// knownSigning maps a mode that this version does not know to the strictest.
func knownSigning(s Signing) Signing {
	switch s {
	case "", SigningOff:
		return SigningOff
	case SigningOptional:
		return SigningOptional
	}
	return SigningRequired
}

func cloneStrings(list []string) []string {
	list = slices.Clone(list)
	for i, s := range list {
		list[i] = strings.Clone(s)
	}
	return list
}

// is reports whether p is what newProfile makes of k.
func (p *profile) is(k *Key) bool {
	return p.orgName == k.Org && p.tier == k.Tier && p.signing == knownSigning(k.Signing) &&
		slices.Equal(p.scopes, k.Scopes) && slices.Equal(p.roles, k.Roles) && slices.Equal(p.origins, k.Origins) &&
		slices.Equal(p.allow.prefixes(), k.Allow) && slices.Equal(p.deny.prefixes(), k.Deny) &&
		slices.Equal(p.limits, k.Limits) && slices.Equal(p.clientCerts, k.ClientCerts)
}

// prefixes returns the list that a was compiled from.
func (a *Addrs) prefixes() []netip.Prefix {
	if a == nil {
		return nil
	}
	return a.list
}

// hash hashes what is compares.
func (t *profiles) hash(k *Key) uint64 {
	b := appendString(t.buf[:0], k.Org)
	b = appendString(b, k.Tier)
	b = appendString(b, string(knownSigning(k.Signing)))
	for _, list := range [...][]string{k.Scopes, k.Roles, k.Origins} {
		b = appendStrings(b, list)
	}
	for _, list := range [...][]netip.Prefix{k.Allow, k.Deny} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, p := range list {
			addr := p.Addr().As16()
			b = append(b, addr[:]...)
			b = append(b, byte(p.Bits()), byte(p.Addr().BitLen()))
		}
	}
	for _, l := range k.Limits {
		b = binary.AppendUvarint(b, l.Amount)
		b = binary.AppendVarint(b, int64(l.Span))
	}
	for _, f := range k.ClientCerts {
		b = append(b, f[:]...)
	}
	t.buf = b
	return maphash.Bytes(t.seed, b)
}
