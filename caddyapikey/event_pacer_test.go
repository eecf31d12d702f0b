package caddyapikey

import (
	"testing"
	"time"
)

// Whatever is asked, and however many kinds there are: each is told, or counted
// once as not told.
func TestPacerLosesNothing(t *testing.T) {
	l := pacer[int]{pause: time.Minute, most: 8}
	now := time.Now()
	var asked, counted uint64
	for i := range 10_000 {
		asked++
		if suppressed, ok := l.admit(i*i%(5+i/100), now.Add(time.Duration(i)*300*time.Millisecond)); ok {
			counted += 1 + suppressed
		}
		if i%200 == 0 {
			n := l.takeUntold(false)
			if i%400 == 0 {
				l.giveBack(n)
			} else {
				counted += n
			}
		}
		if len(l.kinds) > l.most {
			t.Fatalf("%d kinds", len(l.kinds))
		}
	}
	if counted += l.takeUntold(true); counted != asked {
		t.Errorf("%d of %d are counted", counted, asked)
	}
	if n := l.takeUntold(true); n != 0 {
		t.Errorf("%d are counted twice", n)
	}
}
