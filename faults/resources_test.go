//go:build linux

package faults

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// resources are what a process holds.
type resources struct {
	goroutines, files int
	heap, resident    int64 // bytes; heap after a collection
}

func (s *server) resources() (r resources, err error) {
	text, err := s.profile("goroutine?debug=1")
	if err != nil {
		return r, err
	}
	if r.goroutines, err = number(text, `goroutine profile: total (\d+)`); err != nil {
		return r, err
	}
	if text, err = s.profile("heap?gc=1&debug=1"); err != nil {
		return r, err
	}
	heap, err := number(text, `# HeapAlloc = (\d+)`)
	if err != nil {
		return r, err
	}
	r.heap = int64(heap)
	if r.files, err = s.files(); err != nil {
		return r, err
	}
	r.resident, err = s.resident()
	return r, err
}

func (s *server) profile(name string) (string, error) {
	resp, err := oneShot.Get("http://" + s.admin + "/debug/pprof/" + name)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// files counts the open file descriptors.
func (s *server) files() (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	return len(list), err
}

// resident returns the memory in use, in bytes.
func (s *server) resident() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	kb, err := number(string(text), `VmRSS:\s+(\d+) kB`)
	return int64(kb) << 10, err
}

func number(text, pattern string) (int, error) {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no %s in %q", pattern, strings.SplitN(text, "\n", 2)[0])
	}
	return strconv.Atoi(m[1])
}

// settled measures until fits holds, for at most a while: connections and
// goroutines that are ending take their time.
func (s *server) settled(t testing.TB, within time.Duration, fits func(resources) bool) resources {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		r, err := s.resources()
		if err != nil {
			t.Fatal(err)
		}
		if fits(r) || time.Now().After(deadline) {
			return r
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20)) }
