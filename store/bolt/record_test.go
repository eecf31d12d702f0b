package bolt

import (
	"bytes"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/storetest"
)

// FuzzDecodeKey feeds payloads past the checksum: no input makes the decoder
// panic, and whatever it accepts it writes back as the same key.
func FuzzDecodeKey(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendKey(nil, storetest.Key(1)))
	full := appendKey(nil, storetest.FullKey(2))
	f.Add(full)
	f.Add(full[:len(full)-1])
	f.Add(append(bytes.Clone(full), 0x08, 0x01))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var d decoder
		var k, again keyring.Key
		if d.key(&k, payload) != nil {
			return
		}
		written := appendKey(nil, &k)
		if err := d.key(&again, written); err != nil {
			t.Fatalf("%v\n%+v", err, k)
		}
		if !reflect.DeepEqual(appendKey(nil, &again), written) {
			t.Fatalf("%+v\n%+v", k, again)
		}
		revision, st, err := peek(payload)
		if err != nil || revision != k.Revision || st != k.State {
			t.Fatalf("peek: %d, %q, %v; key: %d, %q", revision, st, err, k.Revision, k.State)
		}
	})
}

func TestDecodeIsStrict(t *testing.T) {
	full := appendKey(nil, storetest.FullKey(1))
	var d decoder
	for i := range full {
		// Every prefix is refused, or is a key whose last fields are missing.
		var k keyring.Key
		if d.key(&k, full[:i]) == nil && !bytes.Equal(appendKey(nil, &k), full[:i]) {
			t.Errorf("%d of %d bytes are read as another key", i, len(full))
		}
	}
	for name, payload := range map[string][]byte{
		"trailing byte":    append(bytes.Clone(full), 0),
		"unknown field":    append(bytes.Clone(full), 22<<3&0x7f|0x80, 1, 1),
		"field twice":      {intTag(keyRevision), 1, intTag(keyRevision), 2},
		"fields unordered": {intTag(keyRevision), 1, lenTag(keyName), 1, 'x'},
		"wrong type":       {intTag(keyName), 1},
		"short digest":     {lenTag(keyCredential), 3, lenTag(credDigest), 1, 'x'},
		"bad prefix":       {lenTag(keyAllow), 5, 1, 2, 3, 4, 99},
		"length beyond":    {lenTag(keyName), 200, 1, 'x'},
	} {
		if err := d.key(new(keyring.Key), payload); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestUnseal(t *testing.T) {
	sealed := seal(bucketKeys, []byte("key_1"), []byte("payload"))
	if got, err := unseal(bucketKeys, []byte("key_1"), sealed); err != nil || string(got) != "payload" {
		t.Fatalf("%q, %v", got, err)
	}
	for name, err := range map[string]error{
		"other key":    second(unseal(bucketKeys, []byte("key_2"), sealed)),
		"other bucket": second(unseal(bucketOrgs, []byte("key_1"), sealed)),
		"other split":  second(unseal(bucketKeys, []byte("key_1p"), sealed[1:])),
		"too short":    second(unseal(bucketKeys, []byte("key_1"), sealed[:7])),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for bit := range 8 * len(sealed) {
		flipped := bytes.Clone(sealed)
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, err := unseal(bucketKeys, []byte("key_1"), flipped); err == nil {
			t.Errorf("bit %d: accepted", bit)
		}
	}
}

// The tags of fields below 16.
func lenTag(n protowire.Number) byte { return byte(protowire.EncodeTag(n, protowire.BytesType)) }
func intTag(n protowire.Number) byte { return byte(protowire.EncodeTag(n, protowire.VarintType)) }

func second(_ []byte, err error) error { return err }
