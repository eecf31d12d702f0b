//go:build unix

package bolt_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/store/storetest"
)

var kills = flag.Int("kills", 20, "how often TestKill kills a process that writes")

// The test binary runs itself as another process; childMode says what that does.
const (
	childMode = "BOLT_TEST_CHILD"
	childPath = "BOLT_TEST_PATH"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childMode) {
	case "write":
		childWrite(os.Getenv(childPath))
	case "ledger":
		childLedger(os.Getenv(childPath))
	case "spoilt ledgers":
		childSpoilt(os.Getenv(childPath))
	case "hold":
		childHold(os.Getenv(childPath))
	default:
		os.Exit(m.Run())
	}
}

func child(t *testing.T, mode, path string) (*exec.Cmd, io.Reader) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	c := exec.Command(self)
	c.Env = append(os.Environ(), childMode+"="+mode, childPath+"="+path)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return c, out
}

// childWrite creates keys for ever, each call two of them and an org that
// counts them, and says so after each acknowledgement. It goes on where the
// store ends.
func childWrite(path string) {
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	n := 0
	if org, err := s.Org(context.Background(), "counter"); err == nil {
		n = int(org.Revision)
	}
	for ; ; n++ {
		org := storetest.Org("counter")
		org.Revision = uint64(n) + 1
		_, err := s.Apply(context.Background(), []keyring.Mutation{
			{Key: storetest.FullKey(2 * n)}, {Org: org, IfRevision: uint64(n)}, {Key: storetest.Key(2*n + 1)},
		}, []audit.Draft{{Time: time.Now(), Payload: fmt.Appendf(nil, "%d", n), Details: []byte("{}")}})
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

func childHold(path string) {
	_, err := bolt.Open(path, bolt.Options{})
	fmt.Println("open", err)
	time.Sleep(time.Minute) // until it is killed
}

// TestKill kills a process that writes at a random moment, over and over, its
// first start included: nothing that was acknowledged is lost, nothing is half
// done, and the next start needs no help.
func TestKill(t *testing.T) {
	path := newPath(t)
	acknowledged := -1
	for round := range *kills {
		c, out := child(t, "write", path)
		after := rand.IntN(60) // acknowledgements
		timer := time.AfterFunc(time.Duration(rand.IntN(100))*time.Millisecond, func() { _ = c.Process.Kill() })
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatalf("round %d: %s", round, lines.Text())
			}
			acknowledged = n
			if i == after {
				_ = c.Process.Kill()
			}
		}
		timer.Stop()
		_ = c.Wait()
	}
	s := open(t, path)
	got, damaged, err := read(t, s)
	if err != nil || damaged != 0 {
		t.Fatalf("%d damaged, %v", damaged, err)
	}
	if len(got) == 0 {
		t.Skip("no process lived long enough to write")
	}
	calls := int(got["org counter"].Org.Revision)
	if calls != acknowledged+1 && calls != acknowledged+2 {
		t.Errorf("%d calls are stored, %d were acknowledged", calls, acknowledged+1)
	}
	if len(got) != 2*calls+1 {
		t.Errorf("%d records after %d calls", len(got), calls)
	}
	told := 0
	must(t, s.Trail(t.Context(), 0, func(e *audit.Entry) bool {
		if string(e.Payload) != strconv.Itoa(told) {
			t.Errorf("entry %d is of call %s", e.Seq, e.Payload)
		}
		told++
		return true
	}))
	if report, err := s.VerifyTrail(t.Context()); err != nil || len(report.Faults) > 0 || told != calls {
		t.Errorf("%d entries of %d calls: %+v, %v", told, calls, report, err)
	}
	t.Logf("%d kills, %d acknowledged calls", *kills, acknowledged+1)
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".keys.db.backup-*"))
	if len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestOpenHeldByAnotherProcess(t *testing.T) {
	path := newPath(t)
	c, out := child(t, "hold", path)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "open <nil>\n" {
		t.Fatalf("%q, %v", line, err)
	}
	begun := time.Now()
	_, err := bolt.Open(path, bolt.Options{})
	took := time.Since(begun)
	if err == nil {
		t.Fatal("opened")
	}
	if took < 900*time.Millisecond || took > 30*time.Second {
		t.Errorf("took %v, want about a second", took)
	}
	want := "has it open"
	if locks, _ := os.ReadFile("/proc/locks"); strings.Contains(string(locks), fmt.Sprintf(" %d ", c.Process.Pid)) {
		want = fmt.Sprintf("(pid %d) has it open", c.Process.Pid)
	}
	if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
		t.Errorf("does not say %q: %v", want, err)
	}
	must(t, c.Process.Kill())
	_ = c.Wait()
	open(t, path)
}

// TestMaxSize fills a store up to its limit. It goes on as soon as there is
// room, which with the limit raised there is after it was opened again.
func TestMaxSize(t *testing.T) {
	path := newPath(t)
	s, err := bolt.Open(path, bolt.Options{MaxSize: 1 << 20})
	must(t, err)
	defer s.Close()
	stored := fillUp(t, s, 0)
	if _, err := s.Apply(t.Context(), keys(10_000, 5000), storetest.Told()); !errors.Is(err, keyring.ErrFull) {
		t.Errorf("a large call: %v", err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() > 1<<20 {
		t.Errorf("the file has %d bytes, %v", st.Size(), err)
	}
	checkKeys(t, s, stored)
	must(t, s.Close())
	checkKeys(t, open(t, path), stored)
}

// fillUp creates keys until the store is full and returns how many there are.
func fillUp(t *testing.T, s *bolt.Store, from int) int {
	t.Helper()
	const batch = 20
	for n := from; n < 100_000; n += batch {
		begun := time.Now()
		_, err := s.Apply(t.Context(), keys(n, batch), storetest.Told())
		if err == nil {
			continue
		}
		if !errors.Is(err, keyring.ErrFull) || !strings.Contains(err.Error(), s.Path()) {
			t.Fatalf("after %d keys: %v", n, err)
		}
		if took := time.Since(begun); took > 30*time.Second { // it waits for nothing
			t.Errorf("the refusal took %v", took)
		}
		// Again: the first refusal has left nothing behind. One key may fit.
		for range 5 {
			if _, err := s.Apply(t.Context(), keys(n, 1), storetest.Told()); err != nil && !errors.Is(err, keyring.ErrFull) {
				t.Fatalf("again: %v", err)
			} else if err == nil {
				n++
			}
		}
		must(t, s.Health())
		return n
	}
	t.Fatal("never full")
	return 0
}

func checkKeys(t *testing.T, s *bolt.Store, want int) {
	t.Helper()
	got, damaged, err := read(t, s)
	if err != nil || damaged != 0 || len(got) != want {
		t.Errorf("%d of %d keys, %d damaged, %v", len(got), want, damaged, err)
	}
}
