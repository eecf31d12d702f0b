package denylist

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// Set is a set of prefixes that does not change. The nil Set is empty.
type Set struct {
	trie *bart.Lite
	size int
}

// NewSet returns the set of some prefixes, none of which is v4-mapped or has host bits.
func NewSet(prefixes []netip.Prefix) *Set {
	trie := new(bart.Lite)
	for _, p := range prefixes {
		trie.Insert(p)
	}
	return &Set{trie, trie.Size()}
}

// Contains reports whether a prefix of the set has addr, which must be unmapped and without zone. It does
// not allocate.
func (s *Set) Contains(addr netip.Addr) bool { return s != nil && s.trie.Contains(addr) }

// Len returns how many different prefixes there are.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return s.size
}
