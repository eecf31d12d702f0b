//go:build unix

package bolt_test

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// daysUse is one day of use of some keys from changing places, hour by hour.
func daysUse(t *testing.T, l *bolt.Ledger, rnd *rand.Rand, day time.Time) {
	t.Helper()
	for hour := 0; hour < 24; hour += 4 {
		at := day.Add(time.Duration(hour) * time.Hour)
		b := usage.Batch{ID: [16]byte{byte(at.Unix()), byte(at.Unix() >> 8), byte(at.Unix() >> 16), byte(at.Unix() >> 24)}}
		for n := range 500 {
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(rnd.IntN(10))})
			c := usage.Counter{
				Event: usage.Event{Key: ledgerKey(n), Credential: 1, Place: usage.PlaceOf(addr), Route: usage.Route{Site: "api", Rules: []string{"read"}, Method: "GET"}},
				Hour:  at, Requests: 1, Statuses: [6]uint64{2: 1}, First: at, Last: at,
			}
			if n == 0 { // what strangers leave
				c.Key, c.Credential, c.Reason = "", 0, "invalid_key"
			}
			b.Counters = append(b.Counters, c)
			if n%4 == 0 && n > 0 {
				b.Calls = append(b.Calls, usage.Call{Key: c.Key, Time: at, Method: "GET", Path: "/v1/things", Addr: addr, Status: 200})
			}
		}
		_, err := l.Add(t.Context(), b)
		must(t, err)
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	must(t, err)
	return st.Size()
}

// TestLedgerStaysBounded uses a ledger in the same way day after day: once the
// first records are as old as they may get, its file grows no more.
func TestLedgerStaysBounded(t *testing.T) {
	const keepDays, days = 15, 80
	now := ledgerNow.Truncate(24 * time.Hour)
	path := ledgerPath(t)
	l := openLedger(t, path, bolt.LedgerOptions{
		Keep: usage.Keep{Usage: keepDays * 24 * time.Hour, Calls: 7 * 24 * time.Hour, Last: 50},
		Now:  func() time.Time { return now },
	})
	rnd := rand.New(rand.NewPCG(1, 2))
	var settled int64
	for day := range days {
		daysUse(t, l, rnd, now)
		now = now.Add(24 * time.Hour)
		must(t, l.Purge(t.Context()))
		if day == keepDays+10 {
			settled = highWater2(t, path)
		}
	}
	size := highWater2(t, path)
	t.Logf("%d KiB after %d days, %d KiB after %d", settled>>10, keepDays+10, size>>10, days)
	if size > settled*11/10 {
		t.Errorf("%d bytes after %d days, %d after %d", size, days, settled, keepDays+10)
	}
	since, err := l.Since(t.Context())
	if want := now.Add(-keepDays * 24 * time.Hour); err != nil || !since.Equal(want) {
		t.Errorf("since %s, %v; want %s", since, err, want)
	}
}

// TestLedgerMaxSize has more use than its size allows: the oldest days go, the
// newest stay, and it goes on.
func TestLedgerMaxSize(t *testing.T) {
	const maxSize, days = 4 << 20, 60
	now := ledgerNow.Truncate(24 * time.Hour)
	begun := now
	path := ledgerPath(t)
	l := openLedger(t, path, bolt.LedgerOptions{
		Options: bolt.Options{MaxSize: maxSize},
		Keep:    usage.Keep{Usage: 400 * 24 * time.Hour, Calls: 7 * 24 * time.Hour, Last: 5},
		Now:     func() time.Time { return now },
	})
	rnd := rand.New(rand.NewPCG(1, 2))
	for range days {
		daysUse(t, l, rnd, now)
		now = now.Add(24 * time.Hour)
	}
	must(t, l.Health())
	since, err := l.Since(t.Context())
	if err != nil || !since.After(begun) || since.After(now.Add(-3*24*time.Hour)) {
		t.Errorf("since %s, %v; it began %s and ends %s", since, err, begun, now)
	}
	total, want := 0, int(now.Sub(since)/time.Hour)/4*500
	must(t, l.Counters(t.Context(), usage.Query{}, func(c *usage.Counter) bool {
		if total++; c.Hour.Before(since) {
			t.Errorf("a counter of %s is left", c.Hour)
		}
		return true
	}))
	if total != want {
		t.Errorf("%d counters; want all %d since %s", total, want, since)
	}
	if size := fileSize(t, path); size > maxSize {
		t.Errorf("%d bytes", size)
	}
}

// TestTrailMaxSize fills a ledger with counters, and then with its trail: the
// counters give way, the trail is never dropped for anything, and when it has
// filled all, purging it helps.
func TestTrailMaxSize(t *testing.T) {
	now := ledgerNow.Truncate(24 * time.Hour)
	l := openLedger(t, ledgerPath(t), bolt.LedgerOptions{
		Options: bolt.Options{MaxSize: 4 << 20},
		Keep:    usage.Keep{Usage: 400 * 24 * time.Hour, Calls: 7 * 24 * time.Hour, Last: 5},
		Now:     func() time.Time { return now },
	})
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		daysUse(t, l, rnd, now)
		now = now.Add(24 * time.Hour)
	}
	before, err := l.Since(t.Context())
	must(t, err)
	appended := 0
	large := audit.Draft{Payload: make([]byte, 2000)}
	for ; ; appended++ {
		large.Time = ledgerNow.Add(time.Duration(appended) * time.Minute)
		if !l.Outcome(large) {
			t.Fatal("outcomes do not wait")
		}
		if _, err = l.AppendCalls(t.Context(), large); err != nil {
			break
		}
	}
	if !errors.Is(err, keyring.ErrFull) || appended < 200 {
		t.Errorf("%d entries, %v", appended, err)
	}
	if after, err := l.Since(t.Context()); err != nil || !after.After(before) {
		t.Errorf("counters since %s did not give way, %v", after, err)
	}
	r := verify(t, l)
	if r.First != 1 || r.Last < uint64(appended) {
		t.Errorf("%+v", r)
	}
	for range 3 {
		if _, err := l.AppendCalls(t.Context(), large); !errors.Is(err, keyring.ErrFull) {
			t.Errorf("%v", err)
		}
	}
	must(t, l.PurgeTrail(t.Context(), ledgerNow.Add(time.Duration(appended/2)*time.Minute)))
	if _, err := l.AppendCalls(t.Context(), large); err != nil {
		t.Errorf("after it was purged: %v", err)
	}
	verify(t, l)
}
