package bolt

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

// FuzzLedgerRecords decodes arbitrary bytes as each kind of record: nothing
// panics, and what is taken is what would be written.
func FuzzLedgerRecords(f *testing.F) {
	l, err := OpenLedger(filepath.Join(f.TempDir(), "ledger"), LedgerOptions{})
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	tx, err := l.begin(false)
	if err != nil {
		f.Fatal(err)
	}
	defer l.end(tx)

	now := time.UnixMilli(1_800_000_000_000).UTC()
	place := usage.PlaceOf(netip.MustParseAddr("2001:db8::1"))
	f.Add(appendCounter(nil, &usage.Counter{Requests: 3, Statuses: [6]uint64{2: 3}, Bytes: 1 << 40, First: now, Last: now}))
	f.Add(appendLastUse(nil, &usage.LastUse{First: now, Last: now, Place: place, Requests: 1, Refused: 300}))
	f.Add(appendCall(nil, &usage.Call{Credential: 1, Method: "GET", Path: "/", Addr: netip.MustParseAddr("192.0.2.1"), UserAgent: "x", RequestID: "1", Status: 200}, 0, 0))
	f.Add(appendPlace(nil, usage.Other))
	f.Add((&ledgerState{created: now, batch: [16]byte{1}, clean: true}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		var counter usage.Counter
		if parseCounter(&counter, b) == nil {
			var again usage.Counter
			if err := parseCounter(&again, appendCounter(nil, &counter)); err != nil || !reflect.DeepEqual(again, counter) {
				t.Errorf("counter: %+v, then %+v, %v", counter, again, err)
			}
		}
		var use, useAgain usage.LastUse
		if parseLastUse(&use, b) == nil {
			if err := parseLastUse(&useAgain, appendLastUse(nil, &use)); err != nil || use != useAgain {
				t.Errorf("last use: %+v, then %+v, %v", use, useAgain, err)
			}
		}
		if p, err := parsePlace(b); err == nil {
			if again, err := parsePlace(appendPlace(nil, p)); err != nil || again != p {
				t.Errorf("place: %v, then %v, %v", p, again, err)
			}
		}
		names := newNamesIn(tx)
		_, _ = names.parseCounterKey(&counter, b)
		var call usage.Call
		_ = names.parseCall(&call, b)
		_, _ = parseGap(b, b)
		var state, stateAgain ledgerState
		if state.decode(b) == nil {
			if err := stateAgain.decode(state.encode()); err != nil || state != stateAgain || !bytes.Equal(state.encode(), b) {
				t.Errorf("state: %+v, then %+v, %v", state, stateAgain, err)
			}
		}
	})
}
