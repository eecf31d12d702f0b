package hmacsig

import (
	"encoding/hex"
	"testing"
)

// What the reference implementation and OpenSSL make of 0, 1, 2 … under the key
// 0, 1 … 15.
func TestSipHash(t *testing.T) {
	var key nonceKey
	text := make([]byte, 256)
	for i := range text {
		text[i] = byte(i)
	}
	copy(key[:], text)
	for length, want := range map[int]string{
		0:   "a3817f04ba25a8e66df67214c7550293",
		1:   "da87c1d86b99af44347659119b22fc45",
		2:   "8177228da4a45dc7fca38bdef60affe4",
		7:   "a1f1ebbed8dbc153c0b84aa61ff08239",
		8:   "3b62a9ba6258f5610f83e264f31497b4",
		9:   "264499060ad9baabc47f8b02bb6d71ed",
		15:  "5493e99933b0a8117e08ec0f97cfc3d9",
		16:  "6ee2a4ca67b054bbfd3315bf85230577",
		55:  "67f14984c7da791248e32bb5922583da",
		63:  "5150d1772f50834a503e069a973fbd7c",
		255: "1c9bb67528165f8e468248e3799b0eab",
	} {
		d := key.sipHash(text[:length])
		if got := hex.EncodeToString(d[:]); got != want {
			t.Errorf("%d bytes: %s, want %s", length, got, want)
		}
	}
}
