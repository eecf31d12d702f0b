package limit

import (
	"os"
	"testing"
	"time"
)

// TestMain waits where a day in UTC is about to end, with which quotas begin anew:
// some tests go by the real clock.
func TestMain(m *testing.M) {
	now := time.Now().UTC()
	if left := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now); left < time.Minute {
		time.Sleep(left + time.Second)
	}
	os.Exit(m.Run())
}
