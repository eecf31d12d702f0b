package keyring

import (
	"hash/maphash"
	"maps"
	"strings"
)

// orgs is the writer's side of the org table. An org has a slot as long as it
// has a record or a profile names it: a key may name an org that is missing,
// and must then be refused, not let in without the org's restrictions.
type orgs struct {
	pages  cow[orgPage]
	byName map[string]uint32
	uses   []int // by slot: profiles that name it, and 1 for its record
	free   []uint32

	records int // orgs that have one
}

func newOrgs() orgs {
	o := orgs{
		pages:  cow[orgPage]{clone: clonePart[orgPage]},
		byName: make(map[string]uint32),
		uses:   make([]int, 1), // slot 0 is no org
	}
	o.pages.add(new(orgPage))
	return o
}

// acquire returns the slot of a name, 0 for none.
func (o *orgs) acquire(name string) uint32 {
	if name == "" {
		return 0
	}
	slot, ok := o.byName[name]
	if !ok {
		if n := len(o.free); n > 0 {
			slot, o.free = o.free[n-1], o.free[:n-1]
		} else {
			slot = uint32(len(o.uses))
			o.uses = append(o.uses, 0)
			if slot%pageSlots == 0 {
				o.pages.add(new(orgPage))
			}
		}
		o.byName[strings.Clone(name)] = slot
	}
	o.uses[slot]++
	return slot
}

func (o *orgs) release(name string, slot uint32) {
	if slot == 0 {
		return
	}
	if o.uses[slot]--; o.uses[slot] == 0 {
		delete(o.byName, name)
		o.free = append(o.free, slot)
	}
}

// put sets the record of an org.
func (o *orgs) put(org *Org) {
	slot := o.acquire(org.Name)
	if slot == 0 {
		return
	}
	if orgAt(o.pages.parts, slot) != nil {
		o.release(org.Name, slot) // its record counts once
	} else {
		o.records++
	}
	o.pages.writable(int(slot / pageSlots))[slot%pageSlots] = &orgRecord{
		name:     org.Name,
		state:    org.State,
		tier:     org.Tier,
		allow:    compileAddrs(org.Allow),
		deny:     compileAddrs(org.Deny),
		metadata: org.Metadata,
		org:      org,
	}
}

// remove drops the record of an org, if there is one.
func (o *orgs) remove(name string) {
	slot, ok := o.byName[name]
	if !ok || orgAt(o.pages.parts, slot) == nil {
		return
	}
	o.pages.writable(int(slot / pageSlots))[slot%pageSlots] = nil
	o.records--
	o.release(name, slot)
}

// tierOf returns the tier of an org, "" if it has none or no record.
func (o *orgs) tierOf(name string) string {
	if slot, ok := o.byName[name]; ok {
		if org := orgAt(o.pages.parts, slot); org != nil {
			return org.tier
		}
	}
	return ""
}

func orgAt(pages []*orgPage, slot uint32) *orgRecord {
	return pages[slot/pageSlots][slot%pageSlots]
}

// origins counts, per browser origin, the profiles in use that list it. The
// set is cut in parts because every browser key may have an origin of its own.
type origins struct {
	parts  cow[originPart]
	counts map[string]int
}

const originParts = 256

type originPart map[string]struct{}

func newOrigins() origins {
	parts := make([]*originPart, originParts)
	for i := range parts {
		parts[i] = new(originPart) // the nil map
	}
	return origins{
		parts:  cow[originPart]{parts: parts, mine: make([]bool, originParts), clone: cloneOrigins},
		counts: make(map[string]int),
	}
}

func cloneOrigins(p *originPart) *originPart {
	c := maps.Clone(*p)
	if c == nil {
		c = make(originPart)
	}
	return &c
}

func originPartOf(seed maphash.Seed, origin string) int {
	return int(maphash.String(seed, origin) % originParts)
}

// count adds delta to the count of each origin.
func (o *origins) count(seed maphash.Seed, list []string, delta int) {
	for _, origin := range list {
		before := o.counts[origin]
		after := before + delta
		switch {
		case before == 0:
			o.counts[origin] = after
			(*o.parts.writable(originPartOf(seed, origin)))[origin] = struct{}{}
		case after == 0:
			delete(o.counts, origin)
			delete(*o.parts.writable(originPartOf(seed, origin)), origin)
		default:
			o.counts[origin] = after
		}
	}
}
