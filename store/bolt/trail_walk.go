package bolt

import (
	"cmp"
	"context"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// walkTrail calls fn with entries, slice by slice, until it returns false or
// read returns none, and says how many were damaged. read is given the number of
// the last one.
func walkTrail(ctx context.Context, from uint64, read func(uint64) ([]audit.Entry, error), fn func(*audit.Entry) bool) (damaged int, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return damaged, err
		}
		slice, err := read(from)
		if err != nil || len(slice) == 0 {
			return damaged, err
		}
		for i := range slice {
			e := &slice[i]
			from = e.Seq
			if e.Damaged != nil {
				damaged++
			} else if !fn(e) {
				return 0, nil
			}
		}
	}
}

// eraseSome erases the details of the entries of t that match chooses, some at
// once.
func eraseSome(ctx context.Context, t audit.Trail, match func(*audit.Entry) bool, erase func(numbers []uint64) error) error {
	var chosen []uint64
	var failed error
	err := t.Trail(ctx, 0, func(e *audit.Entry) bool {
		if len(e.Details) > 0 && match(e) {
			chosen = append(chosen, e.Seq)
		}
		if len(chosen) == purgeStep {
			failed, chosen = erase(chosen), nil
		}
		return failed == nil
	})
	if failed == nil && len(chosen) > 0 {
		failed = erase(chosen)
	}
	return cmp.Or(failed, err)
}
