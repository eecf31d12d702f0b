package storetest

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

var day = time.Date(2026, 3, 1, 12, 30, 15, 123e6, time.UTC)

// Digest is the digest of a made-up token.
func Digest(token string) [32]byte { return sha256.Sum256([]byte(token)) }

// Key returns an active key of revision 1 with one token of digest
// Digest(id). Ids of ascending n ascend.
func Key(n int) *keyring.Key {
	id := fmt.Sprintf("key_%020d", n)
	return &keyring.Key{
		ID: id, Name: fmt.Sprintf("key %d", n), Org: "acme", Owner: "ops@acme.example", Tier: "gold",
		State: keyring.StateActive, Signing: keyring.SigningOff, Revision: 1,
		Scopes: []string{"contacts:read", "deals:*"}, CreatedAt: day, UpdatedAt: day,
		Credentials: []keyring.Credential{{
			N: 1, Kind: keyring.KindToken, Hint: "ck_x7Qd", Digest: Digest(id), CreatedAt: day,
		}},
	}
}

// Org returns an active org of revision 1.
func Org(name string) *keyring.Org {
	return &keyring.Org{Name: name, Title: "The " + name, State: keyring.StateActive, Tier: "gold", Revision: 1, CreatedAt: day, UpdatedAt: day}
}

// FullKey returns a key with every field set.
func FullKey(n int) *keyring.Key {
	k := Key(n)
	k.Purpose = "nightly sync – ünïcode, \"quotes\" and \x00"
	k.Roles = []string{"reader", ""}
	k.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("0.0.0.0/0")}
	k.Deny = []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("::/0")}
	k.Origins = []string{"https://app.example"}
	k.ClientCerts = []keyring.Fingerprint{{1, 2, 3}, Digest("certificate")}
	k.Signing = keyring.SigningRequired
	k.Tags = []string{"prod", "eu"}
	k.Metadata = map[string]string{"ticket": "OPS-1", "": "empty name", "empty value": ""}
	k.Limits = []limit.Limit{{Amount: 100, Span: 1}, {Amount: limit.MaxRate, Span: 5400}, {Amount: limit.MaxQuota, Span: limit.Month}}
	k.NotBefore, k.ExpiresAt = day.Add(time.Hour), day.AddDate(1, 0, 0)
	k.Credentials[0].ExpiresAt = day.AddDate(0, 0, 7)
	k.Credentials = append(k.Credentials,
		keyring.Credential{N: 2, Kind: keyring.KindToken, Digest: Digest(k.ID + "/2"), CreatedAt: day.AddDate(0, 0, 1), EndedAt: time.UnixMilli(0).UTC()},
		keyring.Credential{N: 3, Kind: keyring.KindPublicKey, PublicKey: []byte("public key \x00"), Hint: "SHA256:abcd", CreatedAt: time.Date(1969, 7, 20, 20, 17, 40, 1e6, time.UTC)},
		keyring.Credential{N: 4, Kind: keyring.KindSharedSecret, Sealed: []byte{1, 0, 0xff}, Digest: Digest(k.ID + "/4"), CreatedAt: day})
	k.Rotation = &keyring.Rotation{
		StartedAt: day, EndsAt: day.AddDate(0, 0, 7), New: 2,
		Old: []keyring.RetiringCredential{{N: 1, ExpiresWithout: day.AddDate(2, 0, 0)}, {N: 3}},
	}
	return k
}

// FullOrg returns an org with every field set.
func FullOrg(name string) *keyring.Org {
	o := Org(name)
	o.State = keyring.StateSuspended
	o.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	o.Deny = []netip.Prefix{netip.MustParsePrefix("2001:db8::1/128")}
	o.Metadata = map[string]string{"crm": "4711"}
	o.Limits = []limit.Limit{{Amount: 1, Span: 3600}, {Amount: 50000, Span: limit.Day}}
	return o
}

func createKey(k *keyring.Key) keyring.Mutation { return keyring.Mutation{Key: k} }
func createOrg(o *keyring.Org) keyring.Mutation { return keyring.Mutation{Org: o} }

// changed returns a copy of k, one revision later.
func changed(k *keyring.Key, change func(*keyring.Key)) keyring.Mutation {
	next := *k
	next.Revision++
	change(&next)
	return keyring.Mutation{Key: &next, IfRevision: k.Revision}
}

func changedOrg(o *keyring.Org, change func(*keyring.Org)) keyring.Mutation {
	next := *o
	next.Revision++
	change(&next)
	return keyring.Mutation{Org: &next, IfRevision: o.Revision}
}

func sameImage(t *testing.T, got, want map[string]keyring.Record) {
	t.Helper()
	for id, w := range want {
		g, ok := got[id]
		if !ok {
			t.Errorf("%s is missing", id)
			continue
		}
		same(t, id, g, w)
	}
	for id := range got {
		if _, ok := want[id]; !ok {
			t.Errorf("%s is there and should not be", id)
		}
	}
}

// same compares two values in depth; an empty list or map is as good as none.
func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !equal(reflect.ValueOf(got), reflect.ValueOf(want)) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, plain(got), plain(want))
	}
}

func equal(a, b reflect.Value) bool {
	if a.IsValid() != b.IsValid() {
		return false
	}
	if !a.IsValid() {
		return true
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return equal(a.Elem(), b.Elem())
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equal(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		return a.Len() == 0 && b.Len() == 0 || reflect.DeepEqual(a.Interface(), b.Interface())
	case reflect.Struct:
		if t, ok := a.Interface().(time.Time); ok {
			return t.Equal(b.Interface().(time.Time)) && t.IsZero() == b.Interface().(time.Time).IsZero()
		}
		if _, ok := a.Interface().(netip.Prefix); ok {
			return a.Interface() == b.Interface()
		}
		for i := range a.NumField() {
			if !equal(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	default:
		return a.Interface() == b.Interface()
	}
}

func plain(v any) any {
	if r, ok := v.(keyring.Record); ok {
		if r.Key != nil {
			return *r.Key
		}
		if r.Org != nil {
			return *r.Org
		}
	}
	if v := reflect.ValueOf(v); v.Kind() == reflect.Pointer && !v.IsNil() {
		return v.Elem().Interface()
	}
	return v
}
