package caddyapikey

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// A machine that lost power may start with its clock far behind and have it set
// right a moment later. What was used before the start is unknown by the right
// time, too.
func TestClockSetRightAfterACrash(t *testing.T) {
	right := time.Now()
	const ago = 90 * time.Second // when the server was started
	start := func() *pooledRing {
		ring := hmacsig.NewNonceRing(hmacsig.NonceLimits{Window: time.Minute}, right.Add(-time.Hour-ago))
		return &pooledRing{NonceRing: ring, window: time.Minute, lost: right.Add(-time.Hour - ago), since: time.Now().Add(-ago)}
	}
	p := start()
	for _, tc := range []struct {
		signed time.Duration // before or after the right time
		want   error
	}{
		{-40 * time.Second, hmacsig.ErrNonceUnknown}, // it may have been used just before the crash
		{-10 * time.Second, nil},
	} {
		at := right.Add(tc.signed)
		if err := p.Use("key/1", at.Unix(), "nonce"+tc.signed.String(), right); !errors.Is(err, tc.want) {
			t.Errorf("signed at %s: %v, want %v", tc.signed, err, tc.want)
		}
	}

	// Nothing is refused while the clock is only behind.
	p = start()
	at := right.Add(-time.Hour)
	if err := p.Use("key/1", at.Unix(), "nonce", at); err != nil {
		t.Errorf("before the clock is set right: %v", err)
	}
}
