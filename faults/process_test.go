//go:build linux

package faults

import (
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a running server.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // valid once exited is closed
	log    string
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill ends the process, and what wraps it, at once.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
}

func (p *process) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) }

// ended waits for the end and says whether it came.
func (p *process) ended(within time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(within):
		return false
	}
}

func (p *process) logs() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// lastError returns the error that was logged last, "" for none.
func (p *process) lastError() (text string) {
	for line := range strings.Lines(p.logs()) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Level == "error" {
			text = entry.Msg
		}
	}
	return text
}

// crashed says whether the runtime gave up, in the log.
func (p *process) crashed() string {
	for _, mark := range []string{"panic:", "fatal error:", "unexpected fault", "SIGSEGV", "SIGBUS", "goroutine 1 ["} {
		if text := p.logs(); strings.Contains(text, mark) {
			return tail(text)
		}
	}
	return ""
}

func tail(text string) string {
	if len(text) > 3000 {
		text = "…" + text[len(text)-3000:]
	}
	return text
}

// launches runs functions on a thread that lives as long as the test binary: a
// child gets its Pdeathsig when the thread that started it ends.
var launches = func() chan func() {
	queue := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range queue {
			f()
		}
	}()
	return queue
}()

func launch(cmd *exec.Cmd) error {
	err := make(chan error)
	launches <- func() { err <- cmd.Start() }
	return <-err
}
