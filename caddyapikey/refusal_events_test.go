package caddyapikey

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestRefusalLimit(t *testing.T) {
	l := pacer[refusalKind]{pause: refusalEvents.pause, most: refusalEvents.most}
	now := time.Now()
	kind := func(id, addr string, why *refusal) refusalKind {
		return refusalKind{id, why, prefixOf(netip.MustParseAddr(addr))}
	}
	for i, c := range []struct {
		after      time.Duration
		kind       refusalKind
		suppressed uint64
		ok         bool
	}{
		{0, kind("a", "192.0.2.1", noRule), 0, true},
		{1, kind("a", "192.0.2.1", noRule), 0, false},
		{1, kind("a", "192.0.2.200", noRule), 0, false}, // the same network
		{1, kind("a", "192.0.3.1", noRule), 0, true},
		{1, kind("a", "192.0.2.1", revokedKey), 0, true},
		{1, kind("b", "192.0.2.1", noRule), 0, true},
		{1, kind("a", "2001:db8:1::1", noRule), 0, true},
		{1, kind("a", "2001:db8:1:ffff::1", noRule), 0, false},
		{1, kind("a", "2001:db8:2::1", noRule), 0, true},
		{1, refusalKind{"a", noRule, prefixOf(netip.Addr{})}, 0, true},
		{1, refusalKind{"a", noRule, prefixOf(netip.Addr{})}, 0, false},
		{refusalEvents.pause - 1, kind("a", "192.0.2.1", noRule), 0, false},
		{refusalEvents.pause, kind("a", "192.0.2.1", noRule), 3, true},
		{2*refusalEvents.pause - 1, kind("a", "192.0.2.1", noRule), 0, false},
		{2 * refusalEvents.pause, kind("a", "192.0.2.1", noRule), 1, true},
	} {
		if suppressed, ok := l.admit(c.kind, now.Add(c.after)); suppressed != c.suppressed || ok != c.ok {
			t.Errorf("%d: %d %v, want %d %v", i, suppressed, ok, c.suppressed, c.ok)
		}
	}
}

// One key used from everywhere neither fills the memory nor has more told than
// the table holds.
func TestRefusalLimitIsBounded(t *testing.T) {
	l := pacer[refusalKind]{pause: refusalEvents.pause, most: refusalEvents.most}
	now := time.Now()
	told := 0
	for i := range 100_000 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		prefix, _ := addr.Prefix(32)
		if _, ok := l.admit(refusalKind{"a", noRule, prefix}, now.Add(time.Duration(i)*100*time.Microsecond)); ok {
			told++
		}
	}
	if told != refusalEvents.most || len(l.kinds) > refusalEvents.most {
		t.Errorf("%d told, %d kept", told, len(l.kinds))
	}
	if _, ok := l.admit(refusalKind{id: "b"}, now.Add(2*refusalEvents.pause)); !ok || len(l.kinds) != 1 {
		t.Errorf("after a pause: %v, %d kept", ok, len(l.kinds))
	}
}

// A thousand names are counted apart, later ones together.
func TestSitesAreBounded(t *testing.T) {
	var table siteTable
	for i := range maxSites + 500 {
		table.get(fmt.Sprintf("site%d", i))
	}
	if got := len(table.all()); got != maxSites+1 {
		t.Errorf("%d sites", got)
	}
	if table.get("one more") != table.get("and another") || table.get("site1").name != "site1" {
		t.Error("later names are not counted together, or earlier ones no more apart")
	}
}
