package denylist

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// million is a list of a million different prefixes, as feeds have them: three quarters are IPv4, most of
// those single addresses, the others networks; of IPv6 from /32 to /128.
func million() []netip.Prefix {
	rnd := rand.New(rand.NewPCG(1, 2))
	seen := make(map[netip.Prefix]bool, 1_000_000)
	var list []netip.Prefix
	for len(list) < 1_000_000 {
		var addr netip.Addr
		bits := 32
		if len(list)%4 < 3 {
			addr = netip.AddrFrom4([4]byte{byte(1 + rnd.IntN(223)), byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
			if rnd.IntN(3) == 0 {
				bits = 16 + rnd.IntN(16)
			}
		} else {
			b := [16]byte{0x20, byte(rnd.IntN(64))}
			for i := 2; i < 16; i++ {
				b[i] = byte(rnd.IntN(256))
			}
			addr = netip.AddrFrom16(b)
			bits = []int{32, 48, 48, 56, 64, 64, 64, 128}[rnd.IntN(8)]
		}
		if p, _ := addr.Prefix(bits); !seen[p] {
			seen[p] = true
			list = append(list, p)
		}
	}
	return list
}

func text(list []netip.Prefix) []byte {
	var b bytes.Buffer
	for _, p := range list {
		fmt.Fprintf(&b, "%s ; SBL%d\n", p, p.Bits())
	}
	return b.Bytes()
}

// What every request costs with a million prefixes.
func BenchmarkContains(b *testing.B) {
	list := million()
	f := &File{}
	f.set.Store(NewSet(list))
	rnd := rand.New(rand.NewPCG(3, 4))
	const asked = 1 << 16
	strangers4, strangers6, listed := make([]netip.Addr, asked), make([]netip.Addr, asked), make([]netip.Addr, asked)
	for i := range asked {
		strangers4[i] = netip.AddrFrom4([4]byte{byte(1 + rnd.IntN(223)), byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
		strangers6[i] = netip.AddrFrom16([16]byte{0x20, byte(rnd.IntN(64)), byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256)), 15: byte(i)})
		listed[i] = list[rnd.IntN(len(list))].Addr()
	}
	for _, c := range []struct {
		name  string
		addrs []netip.Addr
	}{{"same", strangers4[:1]}, {"strangers4", strangers4}, {"strangers6", strangers6}, {"listed", listed}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				f.Contains(c.addrs[i&(len(c.addrs)-1)])
				i++
			}
		})
	}
}

// Loading a million prefixes while others look addresses up: how long it takes, what it takes, and the
// longest that one look-up, with the time until the goroutine runs again, took meanwhile.
func BenchmarkLoad(b *testing.B) {
	path := filepath.Join(b.TempDir(), "list")
	if err := os.WriteFile(path, text(million()), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := Open(path, false)
	if err != nil {
		b.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f.set.Store(nil)
	runtime.GC()
	runtime.ReadMemStats(&after)
	size := float64(before.HeapAlloc-after.HeapAlloc) / 1e6

	stop, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		var worst time.Duration
		for last := time.Now(); ; {
			f.Contains(bad)
			now := time.Now()
			worst, last = max(worst, now.Sub(last)), now
			select {
			case <-stop:
				longest <- worst
				return
			default:
				runtime.Gosched() // as a server does between requests
			}
		}
	}()
	for b.Loop() {
		f.mu.Lock()
		f.loaded = nil
		f.mu.Unlock()
		if err := f.Reload(true); err != nil {
			b.Fatal(err)
		}
	}
	close(stop)
	b.ReportMetric(float64((<-longest).Microseconds())/1000, "ms-longest")
	b.ReportMetric(size, "MB")
}
