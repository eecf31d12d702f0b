//go:build linux

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// strace returns the words that start the server under strace, which spoils
// system calls on the store's file as inject says; path is false for calls that
// name no file.
func (s *server) strace(path bool, calls, inject string) []string {
	// One processor, so that few threads share the calls: strace counts those of
	// each thread. Its filter (--seccomp-bpf) would lose injected signals.
	words := []string{"env", "GOMAXPROCS=1", "strace", "-f", "-qq", "-o", s.trace(), "-e", "trace=" + calls, "-e", "inject=" + calls + ":" + inject}
	if path {
		words = append(words, "-P", s.store)
	}
	return words
}

func (s *server) trace() string { return filepath.Join(s.dir, "trace") }

// needStrace skips where strace cannot be used.
func needStrace(t *testing.T, id, what string) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		skip(t, id, what, "needs strace: %v", err)
	}
	// In some containers strace is there and may not trace.
	if out, err := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync", "true").CombinedOutput(); err != nil {
		skip(t, id, what, "strace cannot trace here: %v: %s", err, strings.TrimSpace(string(out)))
	}
}

// TestKillInsideCommit kills the server at chosen system calls of a commit, of
// opening and of closing the store.
func TestKillInsideCommit(t *testing.T) {
	const id = "R02"
	needStrace(t, id, "killed inside a commit")
	var slowest time.Duration
	for _, p := range []struct {
		what  string
		calls string
		path  bool
		when  func() int
		stop  bool // the call comes when the server stops
	}{
		{"before a page is written", "pwrite64", true, func() int { return 1 + rand.IntN(60) }, false},
		{"before the data is synced", "fdatasync", true, func() int { return 1 + 2*rand.IntN(15) }, false},
		{"before the meta page is synced", "fdatasync", true, func() int { return 2 + 2*rand.IntN(15) }, false},
		{"after the commit, before the answer", "pread64", true, func() int { return 20 + rand.IntN(40) }, false},
		{"before the file grows", "ftruncate", true, func() int { return 1 }, false},
		{"before the file is mapped", "mmap", true, func() int { return 1 }, false},
		{"before memory is unmapped", "munmap", false, func() int { return 1 + rand.IntN(4) }, true},
	} {
		s := newServer(t)
		s.writeConfig(s.caddyfile(guard, "max_size 8MiB")) // grows in steps of 512 KiB
		s.start()
		s.kill()
		b := newBook(s, 4)
		var err error
		rounds, reached := amount(3, 100), 0
		for round := range rounds {
			s.begin(s.strace(p.path, p.calls, fmt.Sprintf("signal=SIGKILL:when=%d", p.when()))...)
			if s.ready() {
				ctx, cancel := context.WithTimeout(t.Context(), patience/2)
				child := s.child()
				asked := time.AfterFunc(30*time.Millisecond, func() {
					if p.stop {
						_ = syscall.Kill(child, syscall.SIGTERM)
					}
				})
				if p.calls == "ftruncate" {
					err = s.growing(ctx, b, round)
				} else {
					err = b.work(ctx)
				}
				cancel()
				asked.Stop()
				if err != nil {
					break
				}
			}
			if s.ended(5 * time.Second) {
				reached++
			}
			s.kill()
			if log := s.crashed(); log != "" {
				err = fmt.Errorf("crashed: %s", log)
				break
			}
			slowest = max(slowest, s.start())
			if err = b.check(false); err != nil {
				break
			}
			s.kill()
		}
		must(t, id, "killed "+p.what+": writes lost or half done", "0", err == nil && reached > 0, "%d of %d runs ended there, %d acknowledged writes, %d open; %s", reached, rounds, b.acknowledged(), b.unknown(), errText(err))
	}
	within(t, id, "start after these kills, without help", "2 s", 2*time.Second, slowest, "slowest %s", milliseconds(slowest))
}

// child returns the process that strace started.
func (s *server) child() int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", s.cmd.Process.Pid))
	pid := 0
	_, _ = fmt.Sscan(string(text), &pid)
	return pid
}

// growing manages keys and makes the file grow meanwhile.
func (s *server) growing(ctx context.Context, b *book, round int) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	defer func() { // before the server is started anew
		cancel()
		<-ended
	}()
	go func() {
		defer close(ended)
		for i := 0; ctx.Err() == nil; i++ {
			var keys []string
			for n := range 20 {
				keys = append(keys, fmt.Sprintf(`{"name":"growth %d","purpose":%q,"token":"growth-%d-%d-%d-of-a-token-that-is-long-enough"}`, round, bigText, round, i, n))
			}
			if _, err := s.manage(ctx, "POST", "/import", `{"keys":[`+strings.Join(keys, ",")+`]}`); err != nil {
				return
			}
		}
	}()
	return b.work(ctx)
}

// TestErrors makes the n-th system call of a kind on the store's file fail.
func TestErrors(t *testing.T) {
	const id = "R07"
	needStrace(t, id, "the n-th input or output fails")
	for _, c := range []struct {
		what, calls, errno string
		most               int
	}{
		{"write", "pwrite64", "EIO", 500},
		{"sync", "fdatasync,fsync", "EIO", 500},
		{"read", "pread64", "EIO", 500},
		{"truncate", "ftruncate", "EIO", 6},
		{"write on a file system that became read-only", "pwrite64", "EROFS", 100},
	} {
		tally := make(map[string]int)
		var problems []string
		checks := 0
		ns := sample(c.most, amount(4, 40))
		s := newServer(t)
		s.writeConfig(s.caddyfile(guard, "max_size 8MiB"))
		s.start()
		all := s.expectations()
		s.kill()
		b := newBook(s, 1)
		for round, n := range ns {
			outcome, decisions, err := s.failing(b, all, c.calls, c.errno, n, round)
			checks += decisions
			if err == nil {
				s.start()
				err = b.check(false)
				s.kill()
			}
			if err != nil {
				problems = append(problems, fmt.Sprintf("call %d: %v", n, err))
				outcome = "WRONG"
				b = newBook(s, 1) // what it knows no longer holds
			}
			tally[outcome]++
		}
		for _, p := range problems {
			t.Errorf("%s: %s", c.what, p)
		}
		note(t, id, fmt.Sprintf("the n-th %s fails (%s), %d values of n up to %d", c.what, c.errno, len(ns), slices.Max(ns)), "no crash, no wrong decision, nothing lost or taken for done", len(problems) == 0 && len(tally) > 0,
			"%d runs: %s; %d decisions", len(ns), counted(tally), checks)
	}
}

// sample returns count numbers from 1 to most: the first ones, then evenly.
func sample(most, count int) []int {
	var list []int
	for i := range count {
		n := i + 1
		if count < most && i >= count/2 {
			n = count/2 + (i-count/2+1)*(most-count/2)/(count-count/2)
		}
		if n <= most {
			list = append(list, n)
		}
	}
	return list
}

// injected says whether strace has spoilt a call yet.
func (s *server) injected() bool {
	trace, _ := os.ReadFile(s.trace())
	return strings.Contains(string(trace), "INJECTED")
}

// failing runs the server with one error and manages keys until it shows.
func (s *server) failing(b *book, all []expect, calls, errno string, n, round int) (outcome string, decisions int, err error) {
	s.begin(s.strace(true, calls, fmt.Sprintf("error=%s:when=%d", errno, n))...)
	defer s.kill()
	if !s.ready() {
		if text := s.lastError(); !strings.Contains(text, s.store) || !strings.Contains(text, "input/output error") && !strings.Contains(text, "read-only file system") || s.crashed() != "" {
			return "", 0, fmt.Errorf("refused to start with %q, %s", text, s.crashed())
		}
		return "refused at start", 0, nil
	}
	clerk := b.clerks[0]
	acknowledged, left, outcome := 0, 4*n+30, "nobody noticed"
	if calls == "ftruncate" {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() { _ = s.growing(ctx, newBook(s, 0), 1000+round) }()
		left = 300
	}
	for i := 0; left > 0; i, left = i+1, left-1 {
		refused, unknown := clerk.refused, clerk.unknown
		answered, err := clerk.step()
		if err != nil || !answered {
			return "", decisions, fmt.Errorf("operation %d: answered %v, %v", i, answered, err)
		}
		if i%20 == 10 {
			if r, err := s.manage(context.Background(), "GET", "/backup", ""); err == nil && r.status != http.StatusOK && r.status != http.StatusServiceUnavailable && r.status != http.StatusInternalServerError {
				return "", decisions, fmt.Errorf("backup: %d %s", r.status, r.body)
			}
		}
		e := all[i%len(all)]
		decisions++
		if got, err := ask(context.Background(), s.client, "GET", "http://"+s.site+"/", e.token); err != nil || got != e.want {
			return "", decisions, fmt.Errorf("decision %d, %v; want %d", got, err, e.want)
		}
		if outcome == "nobody noticed" && i%20 == 19 && s.injected() {
			left = min(left, 10) // it did not matter
		}
		switch {
		case outcome == "outcome unknown, then read-only" && clerk.acknowledged > acknowledged:
			return "", decisions, fmt.Errorf("a write was acknowledged after one of unknown outcome")
		case clerk.unknown > unknown:
			outcome, acknowledged, left = "outcome unknown, then read-only", clerk.acknowledged, 6
		case clerk.refused > refused && outcome == "nobody noticed":
			outcome, left = "refused", 6
		}
	}
	if outcome == "nobody noticed" {
		if !s.injected() {
			outcome = "call not reached"
		}
	}
	if !s.running() || s.crashed() != "" {
		return "", decisions, fmt.Errorf("the process ended: %s", s.crashed())
	}
	return outcome, decisions, nil
}
