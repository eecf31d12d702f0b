package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/milli"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// gapJoin is how close two gaps are one.
const gapJoin = time.Minute

// gaps keeps gaps by their beginning. When there are too many, the last one
// grows.
func (w *adder) gaps(gaps []usage.Gap) error {
	bucket := w.tx.Bucket(bucketGaps)
	for _, g := range gaps {
		if k, v := bucket.Cursor().Last(); k != nil {
			last, err := parseGap(k, v)
			if err != nil {
				return w.l.damaged("a gap: %v", err)
			}
			near := last.Why == g.Why && g.From.Sub(last.Until) < gapJoin
			if near && last.Why == usage.GapOverflow || countPrefix(bucket, nil, maxGaps) >= maxGaps {
				g.From, g.Until = last.From, latest(last.Until, g.Until)
			}
		}
		k := binary.BigEndian.AppendUint64(nil, uint64(milli.Of(g.From)))
		payload := binary.BigEndian.AppendUint64(nil, uint64(milli.Of(g.Until)))
		if err := bucket.Put(k, seal(bucketGaps, k, append(payload, g.Why...))); err != nil {
			return err
		}
	}
	return nil
}

func parseGap(k, v []byte) (usage.Gap, error) {
	payload, err := unseal(bucketGaps, k, v)
	if err != nil || len(k) != 8 || len(payload) < 8 {
		return usage.Gap{}, errors.Join(err, fmt.Errorf("entry %x", k))
	}
	return usage.Gap{
		From:  milli.Time(int64(binary.BigEndian.Uint64(k))),
		Until: milli.Time(int64(binary.BigEndian.Uint64(payload))),
		Why:   usage.GapReason(strings.Clone(string(payload[8:]))),
	}, nil
}
