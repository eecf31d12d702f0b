package caddyapikey

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// firstVerify is how long after a start the trail of management actions is
// verified first. Verifying takes about a second for half a million entries, and
// is no reason to start later.
const firstVerify = 5 * time.Second

// verifyTrail verifies the trail of management actions. A trail that is not as
// it was written is told, and is no reason to lock anybody out.
func (s *steward) verifyTrail(ctx context.Context) {
	kr := s.app.Keyring()
	if kr == nil {
		return
	}
	report, err := kr.VerifyTrail(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.app.logger.Error("the trail of management actions could not be verified", zap.Error(err))
	case len(report.Faults) > 0:
		s.app.logger.Error("the trail of management actions is not as it was written; GET /api_keys/audit/verify tells all",
			zap.Int("faults", len(report.Faults)), zap.Uint64("first", report.Faults[0].Seq), zap.String("what", report.Faults[0].What))
	}
}

// purgeTrail removes management actions that are older than is to be kept.
// Without a record of use nobody knows how far the clock can be trusted, and
// they stay.
func (s *steward) purgeTrail(ctx context.Context) {
	kr, u, now := s.app.Keyring(), s.app.use.Load(), time.Now()
	if kr == nil || u == nil || !u.mayPurge(now) {
		return
	}
	if err := kr.Trail().PurgeTrail(ctx, now.Add(-time.Duration(s.app.Retain.Audit))); err != nil && ctx.Err() == nil {
		s.app.logger.Error("old entries of the trail of management actions were not removed", zap.Error(err))
	}
}

// tellSuppressed has the trail of calls tell of refusals that have no entry.
func (s *steward) tellSuppressed(context.Context) {
	if u := s.app.use.Load(); u != nil {
		u.tellSuppressed(false)
	}
}
