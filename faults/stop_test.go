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
		hard bool // Caddy ends at once, as after a kill
	}{
		{what: "SIGTERM", stop: func(s *server) { s.signal(syscall.SIGTERM) }},
		{what: "SIGINT", stop: func(s *server) { s.signal(os.Interrupt) }},
		{what: "SIGTERM, twice at once", stop: func(s *server) { s.signal(syscall.SIGTERM); s.signal(syscall.SIGTERM) }},
		{what: "SIGINT, again after 1 ms", hard: true, stop: func(s *server) {
			s.signal(os.Interrupt)
			time.Sleep(time.Millisecond)
			s.signal(os.Interrupt)
		}},
		{what: "caddy stop", stop: func(s *server) {
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
		var u *user
		rounds := amount(3, 20)
		for round := range rounds {
			s.start()
			if u == nil {
				u = s.newUser("counted")
			}
			if err = b.check(false); err != nil {
				break
			}
			if _, err = b.clerks[0].step(); err != nil {
				break
			}
			all, before := s.expectations(), len(u.answered)
			tr := s.traffic(time.Millisecond, all)
			ctx, cancel := context.WithCancel(t.Context())
			worked := make(chan error, 1)
			go func() { worked <- b.work(ctx) }()
			used := make(chan struct{})
			go func() { u.work(ctx, s); close(used) }()
			time.Sleep(time.Duration(20+7*round) * time.Millisecond) // the load that is cut off
			u.await(t, before+1)
			began := time.Now()
			way.stop(s)
			if !s.ended(patience) {
				t.Fatalf("%s: still running after %v", way.what, patience)
			}
			slowest = max(slowest, time.Since(began))
			cancel()
			<-used
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
		counted, gaps := s.use(u.id)
		least, most := len(u.answered), len(u.answered)+u.open
		goal, ok := "0", least <= counted && gaps == 0
		if way.hard {
			goal, ok = "none without a gap in the record", least <= counted || gaps > 0
		}
		must(t, id, way.what+": counts of use lost", goal, ok && u.wrong == 0 && least > 0 && counted <= most,
			"%d counted; %d were answered, %d not; %d gaps", counted, least, u.open, gaps)
		within(t, id, way.what+": the process ends", "5 s", 5*time.Second, slowest, "slowest %s", milliseconds(slowest))
		s.kill()
	}
}
