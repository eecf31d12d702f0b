package lockout

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// saved returns the file of a table.
func saved(t *testing.T, table *Table) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := table.Save(&file); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func load(t *testing.T, file []byte) *Table {
	t.Helper()
	table := New(DefaultLimits)
	if err := table.Load(bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	return table
}

// shifted returns a file as if the wall clock had been set by d after it was written.
func shifted(file []byte, d time.Duration) []byte {
	file = bytes.Clone(file[:len(file)-sha256.Size])
	at := file[len(fileFormat):]
	binary.BigEndian.PutUint64(at, binary.BigEndian.Uint64(at)-uint64(d))
	sum := sha256.Sum256(file)
	return append(file, sum[:]...)
}

func TestSurvivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(Rule{429, 10, time.Minute}, Rule{Refused, 20, time.Hour})
		p.Factor, p.Longest = 2, 24*time.Hour
		g := guard(t, New(DefaultLimits), p)
		times(g, attacker, 429, 10)
		if _, err := g.Lock(neighbour, time.Hour, "by hand"); err != nil {
			t.Fatal(err)
		}
		v6 := netip.MustParseAddr("2001:db8::1")
		times(g, v6, Refused, 19)
		times(g, host(1), Refused, 10)
		time.Sleep(time.Minute)
		file := saved(t, g.Table)
		time.Sleep(4 * time.Minute) // the process is down
		g = guard(t, load(t, file), p)
		if got := g.Remaining(attacker); got != 10*time.Minute {
			t.Errorf("%v remain, want 10m", got)
		}
		list, _ := g.List(netip.Prefix{}, 10)
		if len(list) != 2 || list[1].Reason != "by hand" || list[1].Remaining != 55*time.Minute || list[0].Age != 5*time.Minute || list[0].Rule != p.Rules[0] {
			t.Errorf("%+v", list)
		}
		if times(g, v6, Refused, 1) != 1 {
			t.Error("the counter that was near its limit is gone")
		}
		if times(g, host(1), Refused, 19) != 0 {
			t.Error("the counter that was half-way was kept")
		}
		// A repetition after the restart is one.
		time.Sleep(10 * time.Minute)
		g = guard(t, load(t, saved(t, g.Table)), p)
		times(g, attacker, 429, 10)
		if got := g.Remaining(attacker); got != 30*time.Minute {
			t.Errorf("the second lock lasts %v, want 30m", got)
		}
	})
}

// A wall clock that was set while the process was down: back never releases nor prolongs beyond what
// remained; forward ends locks that the clock says are over.
func TestClockWasSetWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, New(DefaultLimits), policy())
		times(g, attacker, 429, 10)
		time.Sleep(5 * time.Minute)
		file := saved(t, g.Table)
		for _, c := range []struct{ set, want time.Duration }{
			{0, 10 * time.Minute},
			{-100 * 365 * 24 * time.Hour, 10 * time.Minute},
			{-time.Second, 10 * time.Minute},
			{4 * time.Minute, 6 * time.Minute},
			{100 * 365 * 24 * time.Hour, 0},
		} {
			if got := load(t, shifted(file, c.set)).Remaining(attacker); got != c.want {
				t.Errorf("clock set by %v: %v remain, want %v", c.set, got, c.want)
			}
		}
	})
}

// A file with any byte changed or missing is not read.
func TestDamagedFile(t *testing.T) {
	g := guard(t, New(DefaultLimits), policy(Rule{429, 10, time.Minute}, Rule{Refused, 3, time.Hour}))
	times(g, attacker, 429, 10)
	times(g, host(5), Refused, 2)
	if _, err := g.Lock(neighbour, time.Hour, "why"); err != nil {
		t.Fatal(err)
	}
	file := saved(t, g.Table)
	refused := func(file []byte) {
		t.Helper()
		if err := New(DefaultLimits).Load(bytes.NewReader(file)); !errors.Is(err, ErrFile) {
			t.Errorf("error %v", err)
		}
	}
	for i := range file {
		refused(file[:i])
		broken := bytes.Clone(file)
		broken[i] ^= 0x40
		refused(broken)
	}
	refused(append(bytes.Clone(file), 0))
	refused(bytes.Repeat([]byte("x"), 5000))
}

func FuzzLoad(f *testing.F) {
	g, err := New(DefaultLimits).Guard(policy())
	if err != nil {
		f.Fatal(err)
	}
	times(g, attacker, 429, 10)
	times(g, host(1), 429, 8)
	var file bytes.Buffer
	if err := g.Save(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes()[:file.Len()-sha256.Size])
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 16<<10 {
			return // as many rules as a table takes would leave no room for one more
		}
		sum := sha256.Sum256(content)
		table := New(Limits{64, 64})
		if table.Load(bytes.NewReader(append(content, sum[:]...))) != nil {
			return
		}
		g := guard(t, table, policy())
		times(g, attacker, 429, 10)
		table.List(netip.Prefix{}, 10)
		table.Sweep()
		table.Release(attacker)
		if err := table.Save(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
	})
}
