package keyring_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// told returns the entries of the trail after a number.
func told(t *testing.T, kr *keyring.Keyring, after uint64) (all []audit.Entry) {
	t.Helper()
	if err := kr.Trail().Trail(t.Context(), after, func(e *audit.Entry) bool { all = append(all, *e); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestTrailOfImport: every imported key is named once, in entries of a bounded
// size.
func TestTrailOfImport(t *testing.T) {
	kr, _ := newKeyring(t)
	var imports []keyring.Import
	for n := range 2500 {
		digest := keyring.DigestOf(fmt.Sprint("token ", n))
		imports = append(imports, keyring.Import{Key: keyring.Key{Name: "x"}, Digest: &digest})
	}
	keys, err := kr.Import(t.Context(), imports, "ck", false)
	if err != nil {
		t.Fatal(err)
	}
	entries := told(t, kr, 0)
	if len(entries) != 3 {
		t.Fatalf("%d entries", len(entries))
	}
	i := 0
	for _, e := range entries {
		about := e.About()
		if about.Action != "import" || about.Actor != audit.Unknown || len(about.Keys) > audit.MaxKeys || !strings.Contains(string(e.Payload), `"count":2500`) {
			t.Errorf("%.200s", e.Payload)
		}
		for _, id := range about.Keys {
			if id != keys[i].ID {
				t.Fatalf("key %d is %s, not %s", i, id, keys[i].ID)
			}
			i++
		}
	}
	if i != len(keys) {
		t.Errorf("%d of %d keys are named", i, len(keys))
	}
}

// TestTrailHasNoSecrets: neither a secret, nor what it was sealed to, nor its
// digest stands in an entry, whatever was done.
func TestTrailHasNoSecrets(t *testing.T) {
	ctx := audit.WithOrigin(t.Context(), audit.Origin{Actor: audit.Socket})
	kr, _ := newKeyring(t)
	first, second := keyring.NewMasterKey(), keyring.NewMasterKey()
	old, err := keyring.NewSealer(first)
	if err != nil {
		t.Fatal(err)
	}
	both, err := keyring.NewSealer(second, first)
	if err != nil {
		t.Fatal(err)
	}
	key, secret, err := kr.Create(ctx, keyring.Key{Name: "signer"}, keyring.Issue{Kind: keyring.KindSharedSecret, Sealer: old})
	if err != nil {
		t.Fatal(err)
	}
	sealed := [][]byte{key.Credentials[0].Sealed}
	if n, err := kr.Reseal(ctx, both); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	resealed, err := kr.Key(ctx, key.ID)
	if err != nil {
		t.Fatal(err)
	}
	sealed = append(sealed, resealed.Credentials[0].Sealed)
	if _, err := kr.EndCredential(ctx, key.ID, keyring.AnyRevision, 1); err != nil {
		t.Fatal(err)
	}
	entries := told(t, kr, 0)
	var actions []string
	for _, e := range entries {
		actions = append(actions, e.About().Action)
		text := append(bytes.Clone(e.Payload), e.Details...)
		digest := keyring.DigestOf(secret.Reveal())
		for _, hidden := range append(sealed, digest[:], []byte(secret.Reveal())) {
			for _, form := range []string{string(hidden), hex.EncodeToString(hidden), base64.StdEncoding.EncodeToString(hidden)} {
				if strings.Contains(string(text), form) {
					t.Errorf("%s: a secret is in the entry", e.About().Action)
				}
			}
		}
	}
	if got := strings.Join(actions, " "); got != "key.create reseal credential.end" {
		t.Error(got)
	}
}

// TestTrailHasEveryField changes each field that a caller may: each is told, and
// those that can name somebody can be erased.
func TestTrailHasEveryField(t *testing.T) {
	kr, _ := newKeyring(t)
	if _, _, err := kr.PutOrg(t.Context(), "acme", keyring.AnyRevision, keyring.Edits{}, func(*keyring.Org) error { return nil }); err != nil {
		t.Fatal(err)
	}
	key, _ := create(t, kr, keyring.Key{Name: "x"})
	before := told(t, kr, 0)
	_, err := kr.Edit(t.Context(), key.ID, keyring.AnyRevision, keyring.Edits{}, func(k *keyring.Key) error {
		k.Name, k.Owner, k.Purpose, k.Org, k.Tier, k.Signing = "y", "owner", "purpose", "acme", "gold", keyring.SigningOptional
		k.Scopes, k.Roles, k.Tags, k.Origins = []string{"a:b"}, []string{"r"}, []string{"tag"}, []string{"https://app.example"}
		k.ClientCerts = []keyring.Fingerprint{{1}}
		k.Allow, k.Deny, k.Metadata = addrs(t, "192.0.2.0/24"), addrs(t, "192.0.2.7"), map[string]string{"crm": "4711"}
		k.NotBefore, k.ExpiresAt = key.CreatedAt, key.CreatedAt.AddDate(1, 0, 0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	e := told(t, kr, before[len(before)-1].Seq)[0]
	var payload, details struct {
		Changed []string
		Changes map[string]audit.Change
	}
	if err := json.Unmarshal(e.Payload, &payload); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(e.Details, &details); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(payload.Changed); got != "[allow client_certs deny expires_at metadata name not_before org origins owner purpose roles scopes signing tags tier]" {
		t.Error(got)
	}
	for _, field := range payload.Changed {
		_, plain := payload.Changes[field]
		_, personal := details.Changes[field]
		if personal == plain || personal != strings.Contains(" allow client_certs deny metadata name origins owner purpose tags ", " "+field+" ") {
			t.Errorf("%s: in the payload %t, in the details %t", field, plain, personal)
		}
	}
}
