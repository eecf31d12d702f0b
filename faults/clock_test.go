//go:build linux

package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clockFile is the environment variable with the file that says by how many
// seconds the clock is wrong.
const clockFile = "FAULTS_CLOCK"

// steppedBinary builds the same server with a clock that can be set: only
// time.Now is another one, which adds what a file says to the wall clock and
// leaves the monotonic clock alone, as setting the system's clock does. Tools
// that shift a process's clock from outside do not reach Go programs, which read
// it without the C library, and a time namespace only shifts the monotonic one.
func steppedBinary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	const call = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), call) != 1 || !strings.Contains(string(text), "\nimport (\n") {
		skip(t, "R20", "the clock is set", "this Go reads the clock in another way")
	}
	stepped := strings.Replace(string(text), call, call+"\tsec += clockStep\n", 1) + `
// The file is read by a goroutine: Now also runs where a system call must not.
var clockStep int64

func init() {
	path, ok := syscall.Getenv("` + clockFile + `")
	if !ok {
		return
	}
	go func() {
		for ; ; Sleep(Millisecond) {
			fd, err := open(path)
			if err != nil {
				continue
			}
			var text [32]byte
			n, _ := read(fd, text[:])
			closefd(fd)
			var value, sign int64 = 0, 1
			for _, c := range text[:max(n, 0)] {
				if c == '-' {
					sign = -1
				} else if '0' <= c && c <= '9' {
					value = 10*value + int64(c-'0')
				}
			}
			clockStep = sign * value
		}
	}()
}
`
	stepped = strings.Replace(stepped, "import (\n", "import (\n\t\"syscall\"\n", 1)
	replacement := filepath.Join(dir, "time.go")
	if err := os.WriteFile(replacement, []byte(stepped), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "caddy-apikey")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-overlay", overlayFile, "-o", out, "../xcaddy")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building a server with a clock that can be set: %v\n%s", err, text)
	}
	return out
}

// TestClock sets the wall clock of a running server forwards and back.
func TestClock(t *testing.T) {
	const id = "R20"
	if !full {
		t.Skip("builds the server and the standard library again, which takes minutes; FAULTS=full does it. TestClockSetBack in keyring/ tests the rule itself")
	}
	usual := binary
	binary = steppedBinary(t)
	defer func() { binary = usual }()
	s := newServer(t)
	step := filepath.Join(s.dir, "step")
	t.Setenv(clockFile, step)
	shift := time.Duration(0)
	set := func(by time.Duration) {
		t.Helper()
		if err := os.WriteFile(step+".new", fmt.Append(nil, int(by.Seconds())), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(step+".new", step); err != nil {
			t.Fatal(err)
		}
		shift = by
		time.Sleep(20 * time.Millisecond) // until it is read again
	}
	set(0)
	s.start()
	expiring := func(name string, in time.Duration) string {
		t.Helper()
		return tokenIn(t, s.mustManage("POST", "/keys", fmt.Sprintf(`{"name":%q,"scopes":["contacts:read"],"expires_at":%q}`, name, time.Now().Add(in).UTC().Format(time.RFC3339Nano))))
	}
	short, minutes, day, ever := expiring("short", 1500*time.Millisecond), expiring("minutes", 5*time.Minute), expiring("day", 25*time.Hour), ""
	_, ever = s.mustCreate("for ever")
	signed := s.newSigning("signed")
	wrong, decisions, replays := 0, 0, 0
	var first string
	check := func(what string, want map[string]int) {
		t.Helper()
		for token, status := range want {
			decisions++
			if got, err := s.status(t.Context(), "GET", token); err != nil || got != status {
				wrong++
				first = fmt.Sprintf("%s: status %d, %v; want %d", what, got, err, status)
				t.Error(first)
			}
		}
		// Callers sign by the true time, or by the server's. It may take either or
		// none, but nothing that it took before.
		for _, at := range []time.Duration{0, shift, shift / 2} {
			signed.send(time.Now().Add(at))
		}
		replays += signed.repeat(0)
	}
	const ok, no = http.StatusOK, http.StatusUnauthorized
	check("at first", map[string]int{short: ok, minutes: ok, day: ok, ever: ok})
	time.Sleep(1600 * time.Millisecond) // its life ends by the clock
	check("later", map[string]int{short: no, minutes: ok, day: ok, ever: ok})
	for _, back := range []time.Duration{-time.Second, -5 * time.Minute, -24 * time.Hour, -400 * 24 * time.Hour} {
		set(back)
		check(fmt.Sprint("set by ", back), map[string]int{short: no, minutes: ok, day: ok, ever: ok})
	}
	set(10 * time.Minute) // as after a suspension, which the monotonic clock does not count
	check("10 minutes on", map[string]int{short: no, minutes: no, day: ok, ever: ok})
	set(26 * time.Hour)
	check("26 hours on", map[string]int{short: no, minutes: no, day: no, ever: ok})
	set(0)
	// A clock that was wrong for a moment does no lasting harm.
	check("set right", map[string]int{short: no, minutes: ok, day: ok, ever: ok})

	// The same after a reload, which opens nothing anew.
	set(-24 * time.Hour)
	text, err := os.ReadFile(s.configPath())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.load(string(text)); err != nil {
		t.Fatal(err)
	}
	check("set back by a day, and reloaded", map[string]int{short: no, ever: ok})
	must(t, id, "wall clock set by ±1 s, ±5 min, ±1 day, −400 days: expired keys that came back, or good ones refused", "0", wrong == 0, "%d of %d decisions%s", wrong, decisions, prefixed(": ", first))
	set(0)
	now := signed.send(time.Now())
	s.signal(syscall.SIGTERM)
	if !s.ended(patience) {
		t.Fatal("still running after SIGTERM")
	}
	s.start()
	note(t, id, "a new signed request after the clock had been 26 hours ahead", "", false, "status %d; after a restart %d", now, signed.send(time.Now()))
	replays += signed.repeat(0)
	must(t, id, "signed requests that were let in, sent again at each of these times: let in", "0", replays == 0 && len(signed.spent) > 0, "%d of %d (%d requests)", replays, signed.repeated, len(signed.spent))
}
