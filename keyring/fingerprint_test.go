package keyring_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func TestParseFingerprints(t *testing.T) {
	a, b := strings.Repeat("0a", 32), strings.Repeat("0b", 32)
	colons := strings.TrimSuffix(strings.Repeat("0A:", 32), ":")
	for name, list := range map[string][]string{"plain": {b, a}, "colons": {colons, b}, "capitals": {strings.ToUpper(b), a}, "repeated": {a, b, colons}} {
		got, err := keyring.ParseFingerprints("client_certs", list)
		if err != nil || len(got) != 2 || got[0].String() != a || got[1].String() != b {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	if got, err := keyring.ParseFingerprints("client_certs", nil); got != nil || err != nil {
		t.Errorf("none: %v %v", got, err)
	}
	many := make([]string, keyring.MaxClientCerts+1)
	for i := range many {
		many[i] = a
	}
	for name, list := range map[string][]string{
		"empty": {""}, "short": {a[2:]}, "long": {a + "00"}, "no hex": {strings.Repeat("0g", 32)}, "SHA-1": {strings.Repeat("0a", 20)},
		"one colon": {a[:2] + ":" + a[2:]}, "colons elsewhere": {"0:A0" + colons[4:]}, "spaces": {strings.ReplaceAll(colons, ":", " ")},
		"with a name": {"SHA256 Fingerprint=" + colons}, "ends with a colon": {colons[:93] + "::"}, "too many": many,
	} {
		var bad *keyring.InvalidError
		if _, err := keyring.ParseFingerprints("client_certs", list); !errors.As(err, &bad) || !strings.HasPrefix(bad.Field, "client_certs") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
