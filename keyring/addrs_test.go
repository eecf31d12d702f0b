package keyring

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestParseAddrs(t *testing.T) {
	for entry, want := range map[string]string{
		"203.0.113.7":             "203.0.113.7/32",
		"203.0.113.0/24":          "203.0.113.0/24",
		"0.0.0.0/0":               "0.0.0.0/0",
		"2001:DB8::1":             "2001:db8::1/128",
		"2001:db8::/32":           "2001:db8::/32",
		"::ffff:10.1.2.3":         "10.1.2.3/32",
		"::ffff:10.0.0.0/104":     "10.0.0.0/8",
		"10.0.0.5/8":              "error: host bits",
		"2001:db8::1/32":          "error: host bits",
		"::ffff:10.0.0.0/90":      "error: v4-mapped",
		"010.0.0.0/8":             "error: not a CIDR",
		"10.0.0.0/33":             "error: not a CIDR",
		"10.0.0.0/08":             "error: not a CIDR",
		"fe80::1%eth0":            "error: zone",
		"fe80::%eth0/64":          "error: zone",
		"10.0.0.1-9":              "error: not an address",
		"":                        "error: not an address",
		" 10.0.0.1":               "error: not an address",
		"10.0.0.1 ":               "error: not an address",
		"localhost":               "error: not an address",
		"10.0.0":                  "error: not an address",
		"1.2.3.4/255.255.0.0":     "error: not a CIDR",
		strings.Repeat("1", 9999): "error: not an address",
	} {
		list, err := ParseAddrs("allow", []string{entry})
		if wantErr, ok := strings.CutPrefix(want, "error: "); ok {
			if err == nil || !strings.Contains(err.Error(), wantErr) || !strings.HasPrefix(err.Error(), "allow[0]: ") || len(err.Error()) > 300 {
				t.Errorf("%.40q: %v, %v", entry, list, err)
			}
			continue
		}
		if err != nil || len(list) != 1 || list[0].String() != want {
			t.Errorf("%q: %v, %v; want %s", entry, list, err, want)
		}
	}
}

func TestParseAddrsIsCanonical(t *testing.T) {
	list, err := ParseAddrs("allow", []string{"10.0.0.2", "2001:db8::1", "10.0.0.1", "::ffff:10.0.0.2", "10.0.0.0/8"})
	if got := fmt.Sprint(list); err != nil || got != "[10.0.0.0/8 10.0.0.1/32 10.0.0.2/32 2001:db8::1/128]" {
		t.Fatal(got, err)
	}
	if _, err := ParseAddrs("allow", make([]string, MaxAddrs+1)); err == nil {
		t.Fatal("a list over the limit was accepted")
	}
}

// A short list is scanned and a long one is a trie: both must say the same.
func TestAddrsContains(t *testing.T) {
	short := []string{"10.0.0.0/8", "203.0.113.7", "2001:db8::/32"}
	long := append([]string(nil), short...)
	for i := range 200 {
		long = append(long, fmt.Sprintf("198.51.100.%d", i))
	}
	for _, entries := range [][]string{short, long} {
		prefixes, err := ParseAddrs("allow", entries)
		if err != nil {
			t.Fatal(err)
		}
		list := compileAddrs(prefixes)
		for addr, want := range map[string]bool{
			"10.1.2.3": true, "11.0.0.0": false, "203.0.113.7": true, "203.0.113.8": false, "2001:db8:1::1": true, "2001:db9::1": false,
		} {
			if list.Contains(netip.MustParseAddr(addr)) != want {
				t.Errorf("%d entries: %s: want %v", len(entries), addr, want)
			}
		}
	}
	if compileAddrs(nil).Contains(netip.MustParseAddr("10.0.0.1")) {
		t.Error("the empty list contains something")
	}
}

func FuzzParseAddrs(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::ffff:10.0.0.0/104", "fe80::1%eth0", "10.0.0.5/8", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		list, err := ParseAddrs("allow", []string{entry})
		if err != nil {
			return
		}
		again, err := ParseAddrs("allow", []string{list[0].String()})
		if err != nil || again[0] != list[0] {
			t.Fatalf("%q: %v does not survive a second reading: %v, %v", entry, list, again, err)
		}
		if a := list[0].Addr(); a.Is4In6() || a.Zone() != "" || !compileAddrs(list).Contains(a) {
			t.Fatalf("%q: %v matches nothing", entry, list)
		}
	})
}

func BenchmarkAddrsContains(b *testing.B) {
	for _, n := range []int{1, 8, 1000} {
		var entries []string
		for i := range n {
			entries = append(entries, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
		}
		prefixes, err := ParseAddrs("allow", entries)
		if err != nil {
			b.Fatal(err)
		}
		list, addr := compileAddrs(prefixes), netip.MustParseAddr("10.0.0.7")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !list.Contains(addr) {
					b.Fatal()
				}
			}
		})
	}
}
