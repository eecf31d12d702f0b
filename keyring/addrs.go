package keyring

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// MaxAddrs bounds an address list, in entries.
const MaxAddrs = 1000

// linearAddrs is the length up to which a list is scanned; beyond it a prefix
// trie is faster than the scan.
const linearAddrs = 8

// Addrs is a compiled address list. The nil Addrs contains nothing.
type Addrs struct {
	list []netip.Prefix
	trie *bart.Lite
}

// ParseAddrs reads the entries of an address list: single addresses and CIDR
// prefixes, v4 and v6. The result is sorted, without duplicates, and holds no
// v4-mapped prefix. An entry that says two things at once (host bits beside a
// prefix length, a zone) is an error that names both readings: guessing would
// open or close more than was meant.
func ParseAddrs(field string, entries []string) ([]netip.Prefix, error) {
	if len(entries) > MaxAddrs {
		return nil, invalid(field, "%d entries, at most %d are possible; join neighbours into larger prefixes", len(entries), MaxAddrs)
	}
	var list []netip.Prefix
	for i, entry := range entries {
		p, err := ParseAddr(entry)
		if err != nil {
			return nil, invalid(fmt.Sprintf("%s[%d]", field, i), "%s", err.Error())
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return slices.Compact(list), nil
}

// ParseAddr reads one entry of an address list, see ParseAddrs. The error repeats
// at most 64 bytes of it.
func ParseAddr(entry string) (netip.Prefix, error) {
	shown := entry
	if len(shown) > 64 {
		shown = shown[:64] + "…"
	}
	if strings.Contains(entry, "%") {
		return netip.Prefix{}, fmt.Errorf("%q names a zone; write the address without it", shown)
	}
	if !strings.Contains(entry, "/") {
		addr, err := netip.ParseAddr(entry)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is not an address; write one like 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32", shown)
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(entry)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a CIDR prefix; write one like 203.0.113.0/24 or 2001:db8::/32", shown)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q reaches beyond the v4-mapped range; write the v4 or the v6 prefix", shown)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has host bits set; write %s for the whole network or %s for the one address", shown, p.Masked(), p.Addr())
	}
	return p, nil
}

// compileAddrs compiles a list that ParseAddrs made; nil for an empty one.
func compileAddrs(list []netip.Prefix) *Addrs {
	if len(list) == 0 {
		return nil
	}
	a := &Addrs{list: list}
	if len(list) > linearAddrs {
		a.trie = new(bart.Lite)
		for _, p := range list {
			a.trie.Insert(p)
		}
	}
	return a
}

// Contains reports whether the list has addr, which must be unmapped and
// without zone. It does not allocate.
func (a *Addrs) Contains(addr netip.Addr) bool {
	if a == nil {
		return false
	}
	if a.trie != nil {
		return a.trie.Contains(addr)
	}
	for _, p := range a.list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
