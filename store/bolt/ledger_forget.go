package bolt

import (
	"bytes"
	"context"
	"errors"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// Forget implements usage.Store.
func (l *Ledger) Forget(ctx context.Context, key string) error {
	id, err := appendKeyID(nil, key)
	if err != nil || key == "" {
		return errors.Join(err, &keyring.InvalidError{Field: "key", Reason: "must be one key"})
	}
	remove := func(bucket *bbolt.Bucket, k, _ []byte) error { return bucket.Delete(k) }
	if err := l.sweep(ctx, func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketPlaces) }, id, atOnce, remove); err != nil {
		return err
	}
	err = l.free(ctx, func(tx *bbolt.Tx) error { return l.dropCallsOf(tx, id, time.Unix(1<<40, 0)) })
	if err != nil {
		return err
	}
	err = l.sweep(ctx, func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketLast) }, id, atOnce, func(bucket *bbolt.Bucket, k, v []byte) error {
		var u usage.LastUse
		payload, err := unseal(bucketLast, k, v)
		if err == nil {
			err = parseLastUse(&u, payload)
		}
		if err != nil {
			return bucket.Delete(k)
		}
		u.Place = usage.Other
		return bucket.Put(k, seal(bucketLast, k, appendLastUse(nil, &u)))
	})
	if err != nil {
		return err
	}
	days, err := l.days(usage.Span{})
	if err != nil {
		return err
	}
	for _, day := range days {
		if err := l.rewrite(ctx, day, id, func(k []byte) []byte {
			if len(k) <= counterFixed {
				return k
			}
			return append(bytes.Clone(k[:counterFixed]), placeOther)
		}, l.awaitMove); err != nil {
			return err
		}
	}
	return nil
}
