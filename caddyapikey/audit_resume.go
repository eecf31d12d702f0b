package caddyapikey

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// resume has the trail tell of the calls that the process before did not see the
// end of. It may have to look at many entries, and does so beside requests.
func (u *useRecord) resume(now time.Time) {
	var ctx context.Context
	ctx, u.stop = context.WithCancel(context.Background())
	last, err := lastOf(ctx, u.trail)
	u.resuming.Go(func() {
		unknown := 0
		if err == nil {
			unknown, err = audit.Resume(ctx, u.trail, last, now)
		}
		switch {
		case ctx.Err() != nil: // the next start does it
		case err != nil:
			u.logger.Error("the trail of calls does not tell which calls have no outcome; the next start tries again", zap.Error(err))
		case unknown > 0:
			u.logger.Warn("audited calls have no outcome: the server ended before they did", zap.Int("calls", unknown))
		}
	})
}

func (u *useRecord) endResume() {
	if u.stop != nil {
		u.stop()
		u.resuming.Wait()
	}
}
