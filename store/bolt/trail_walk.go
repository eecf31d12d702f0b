package bolt

import (
	"cmp"
	"context"
	"fmt"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// trails is the audit.Trail of a file.
type trails struct {
	of  *guarded
	now func() time.Time

	// ends returns what the trail is for a transaction; change has the writer do
	// something to it in a commit of its own.
	ends   func(*bbolt.Tx) (audit.Chain, error)
	change func(ctx context.Context, do func(*bbolt.Tx, *audit.Chain) error) error
}

func (s *trails) in(tx *bbolt.Tx) *trail {
	return &trail{bucket: tx.Bucket(bucketTrail), damaged: s.of.damaged}
}

// Trail implements audit.Trail.
func (s *trails) Trail(ctx context.Context, after uint64, fn func(*audit.Entry) bool) error {
	return s.walk(ctx, after, (*trail).after, fn)
}

// TrailBack implements audit.Trail.
func (s *trails) TrailBack(ctx context.Context, before uint64, fn func(*audit.Entry) bool) error {
	return s.walk(ctx, before, (*trail).before, fn)
}

// walk calls fn with entries, slice by slice. next returns none at the end.
func (s *trails) walk(ctx context.Context, from uint64, next func(*trail, uint64) ([]audit.Entry, error), fn func(*audit.Entry) bool) error {
	damaged := 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var slice []audit.Entry
		err := s.of.view(func(tx *bbolt.Tx) (err error) {
			slice, err = next(s.in(tx), from)
			return err
		})
		if err != nil {
			return err
		}
		if len(slice) == 0 {
			break
		}
		for i := range slice {
			e := &slice[i]
			from = e.Seq
			if e.Damaged != nil {
				damaged++
			} else if !fn(e) {
				return nil
			}
		}
	}
	if damaged > 0 {
		return s.of.damaged("%d entries of the trail are damaged", damaged)
	}
	return nil
}

// VerifyTrail implements audit.Trail.
func (s *trails) VerifyTrail(ctx context.Context) (*audit.Report, error) {
	return audit.Verify(ctx, func(after uint64) (slice []audit.Entry, chain audit.Chain, err error) {
		err = s.of.view(func(tx *bbolt.Tx) error {
			if chain, err = s.ends(tx); err != nil {
				return s.of.damaged("state record: %v", err)
			}
			slice, err = s.in(tx).after(after)
			return err
		})
		return slice, chain, err
	})
}

// PurgeTrail implements audit.Trail.
func (s *trails) PurgeTrail(ctx context.Context, before time.Time) error {
	for more := true; more; {
		err := s.change(ctx, func(tx *bbolt.Tx, chain *audit.Chain) (err error) {
			more, err = s.in(tx).purge(chain, before, s.now())
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// EraseTrail implements audit.Trail.
func (s *trails) EraseTrail(ctx context.Context, match func(*audit.Entry) bool) error {
	var chosen []uint64
	var failed error
	erase := func() {
		numbers := chosen
		failed = s.change(ctx, func(tx *bbolt.Tx, _ *audit.Chain) error { return s.in(tx).erase(numbers) })
		chosen = nil
	}
	err := s.Trail(ctx, 0, func(e *audit.Entry) bool {
		if len(e.Details) > 0 && match(e) {
			chosen = append(chosen, e.Seq)
		}
		if len(chosen) == purgeStep {
			erase()
		}
		return failed == nil
	})
	if failed == nil && len(chosen) > 0 {
		erase()
	}
	return cmp.Or(failed, err)
}

// trailEntries does for drafts what can be done while others use the writer.
func trailEntries(drafts []audit.Draft) ([]audit.Entry, error) {
	if len(drafts) > audit.MaxAppend {
		return nil, &keyring.InvalidError{Field: "entries", Reason: fmt.Sprintf("are %d; want up to %d", len(drafts), audit.MaxAppend)}
	}
	entries := make([]audit.Entry, len(drafts))
	for i := range drafts {
		if err := drafts[i].Check(); err != nil {
			return nil, &keyring.InvalidError{Field: "entry", Reason: err.Error()}
		}
		entries[i] = audit.NewEntry(drafts[i])
	}
	return entries, nil
}
