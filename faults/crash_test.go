//go:build linux

package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// TestKill kills the server with SIGKILL at random moments, the first start and
// later ones included, while four clerks manage keys.
func TestKill(t *testing.T) {
	const id = "R01"
	s := newServer(t)
	s.writeConfig(s.caddyfile(guard, ""))
	b := newBook(s, 4)
	var starts []time.Duration
	kills := amount(25, 1000)
	for round := range kills {
		if round%10 == 0 { // while it starts
			s.begin()
			time.Sleep(randomly(80 * time.Millisecond)) // the random moment
			s.kill()
		} else {
			starts = append(starts, s.start())
			if round > 1 {
				if err := b.check(round%100 == 1); err != nil {
					t.Fatalf("after %d kills: %v", round, err)
				}
			}
			if answered, err := b.clerks[0].step(); err != nil || !answered { // one before the kill at least
				t.Fatalf("after %d kills: answered %v, %v", round, answered, err)
			}
			timer := time.AfterFunc(randomly(60*time.Millisecond), s.kill)
			err := b.work(context.Background())
			timer.Stop()
			if err != nil {
				t.Fatal(err)
			}
		}
		<-s.exited
		if log := s.crashed(); log != "" {
			t.Fatalf("kill %d: %s", round, log)
		}
	}
	starts = append(starts, s.start())
	err := b.check(true)
	must(t, id, "kill -9 while keys are managed: acknowledged writes lost or half done", "0", err == nil,
		"%d kills, %d acknowledged writes, %d cut off, %d keys compared; %s", kills, b.acknowledged(), b.unknown(), b.keys(), errText(err))
	told := b.s.verifyTrail()
	must(t, id, "kill -9 while keys are managed: changes without their entry in the trail, entries without a change, or a broken chain", "0", err == nil && told == nil,
		"%s; %d acknowledged writes", errText(errors.Join(err, told)), b.acknowledged())
	slowest := quantile(starts, 1)
	within(t, id, "start after a kill, without help", "2 s", 2*time.Second, slowest, "median %s, slowest %s", milliseconds(quantile(starts, 0.5)), milliseconds(slowest))
	if b.acknowledged() < amount(kills/2, 2*kills) { // a slow disk lets few through
		t.Errorf("only %d writes were acknowledged between %d kills", b.acknowledged(), kills)
	}
}

func randomly(most time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(most))) }

func errText(err error) string {
	if err == nil {
		return "0 wrong"
	}
	return err.Error()
}
