package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	bbolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// How much of a ledger's size may be in use, in parts of 32, before something is
// dropped or refused, the less important first. Free pages that do not lie beside
// each other are not always of use, so that the file may be somewhat larger, and
// larger still while something is dropped: or a full ledger would stay full.
const (
	roomForUsage    = 24
	roomForTrail    = 26
	roomForOutcomes = 27
	roomForAll      = 28 // of the file
)

// withRoom has fn done. As long as more than parts of the ledger's size are in
// use, or there is none left, the oldest days of counters are dropped: that its
// size is limited must not end the record. Nothing is dropped because others
// filled the disk.
func (l *Ledger) withRoom(ctx context.Context, parts int64, do func(context.Context, func(*bbolt.Tx) error) error, fn func(*bbolt.Tx) error) error {
	for {
		drops := l.drops.Load()
		err := l.checkRoom(parts)
		if err == nil {
			err = do(ctx, fn)
		}
		if !errors.Is(err, berrors.ErrMaxSizeReached) {
			return err
		}
		if dropped, dropErr := l.dropOldestDay(ctx, drops); dropErr != nil || !dropped {
			return err
		}
	}
}

func (l *Ledger) checkRoom(parts int64) error {
	if used := l.used.Load(); used > l.most/32*parts {
		return fmt.Errorf("%w: store %s: %d of %d bytes are in use: %w", keyring.ErrFull, l.path, used, l.most, berrors.ErrMaxSizeReached)
	}
	return nil
}

// dropOldestDay makes room, and reports whether it did. What was recorded last
// is never dropped for what comes now. drops is how many days were dropped when
// there was no room: if another one was since, that is enough for all who wait.
func (l *Ledger) dropOldestDay(ctx context.Context, drops uint64) (dropped bool, err error) {
	err = l.free(ctx, func(tx *bbolt.Tx) error {
		if dropped = l.drops.Load() != drops; dropped {
			return nil
		}
		c := tx.Bucket(bucketDays).Cursor()
		k, _ := c.First()
		if last, _ := c.Last(); k == nil || bytes.Equal(k, last) {
			return nil
		}
		dropped = true
		l.drops.Add(1)
		return l.dropDay(tx, bytes.Clone(k))
	})
	return dropped, err
}

// Room returns how many bytes of the file are in use, and how many it may have.
func (l *Ledger) Room() (used, limit int64) { return l.used.Load(), l.most }
