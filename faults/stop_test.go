//go:build linux

package faults

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestStop ends the server in the ways that operators and service managers do,
// while keys are used and managed.
func TestStop(t *testing.T) {
	const id = "R04"
	for _, way := range []struct {
		what string
		stop func(s *server)
	}{
		{"SIGTERM", func(s *server) { s.signal(syscall.SIGTERM) }},
		{"SIGINT", func(s *server) { s.signal(os.Interrupt) }},
		{"SIGTERM, twice at once", func(s *server) { s.signal(syscall.SIGTERM); s.signal(syscall.SIGTERM) }},
		{"SIGINT, again after 1 ms", func(s *server) {
			s.signal(os.Interrupt)
			time.Sleep(time.Millisecond)
			s.signal(os.Interrupt)
		}},
		{"caddy stop", func(s *server) {
			if out, err := s.command(binary, "stop", "--address", s.admin).CombinedOutput(); err != nil {
				s.t.Errorf("caddy stop: %v %s", err, out)
			}
		}},
	} {
		s := newServer(t)
		s.writeConfig(s.caddyfile(guard, ""))
		b := newBook(s, 4)
		var slowest time.Duration
		var err error
		rounds := amount(3, 20)
		for round := range rounds {
			s.start()
			if err = b.check(false); err != nil {
				break
			}
			all := s.expectations()
			tr := s.traffic(time.Millisecond, all)
			ctx, cancel := context.WithCancel(t.Context())
			worked := make(chan error, 1)
			go func() { worked <- b.work(ctx) }()
			time.Sleep(time.Duration(20+7*round) * time.Millisecond) // the load that is cut off
			began := time.Now()
			way.stop(s)
			if !s.ended(20 * time.Second) {
				t.Fatalf("%s: still running after 20 s", way.what)
			}
			slowest = max(slowest, time.Since(began))
			cancel()
			if err = <-worked; err != nil {
				break
			}
			tr.stop()
			if tr.wrong.Load() > 0 {
				err = fmt.Errorf("%d wrong decisions: %s", tr.wrong.Load(), tr.first)
				break
			}
			if log := s.crashed(); log != "" {
				err = fmt.Errorf("crashed: %s", log)
				break
			}
		}
		if err == nil {
			s.start()
			err = b.check(false)
		}
		must(t, id, way.what+" under load: acknowledged writes lost, wrong decisions", "0", err == nil && b.acknowledged() > 0, "%d times, %d acknowledged writes, %d without an answer; %s", rounds, b.acknowledged(), b.unknown(), errText(err))
		must(t, id, way.what+": the process ends", "5 s", slowest < 5*time.Second, "slowest %s", milliseconds(slowest))
		s.kill()
	}
}
