package keyring_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func newSealer(t testing.TB, keys ...keyring.Secret) *keyring.Sealer {
	t.Helper()
	if len(keys) == 0 {
		keys = []keyring.Secret{keyring.NewMasterKey()}
	}
	s, err := keyring.NewSealer(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// holds stands for a signature that only the holder of a secret can make: a key
// of a shared secret is compared by what it holds.
func holds(t testing.TB, secret string) func(hmacsig.Key) bool {
	t.Helper()
	want, err := hmacsig.SecretKey([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return func(k hmacsig.Key) bool { return k.Equal(want) }
}

func wantSigned(t testing.TB, kr *keyring.Keyring, id string, sealer *keyring.Sealer, secret string, want keyring.Verdict) {
	t.Helper()
	proven, verdict, err := kr.VerifySigned(id, sealer, holds(t, secret))
	if err != nil || verdict != want || proven.IsZero() != (want == keyring.Unknown) {
		t.Errorf("verdict %d, proven %t, %v; want %d", verdict, !proven.IsZero(), err, want)
	}
}

func TestSharedSecret(t *testing.T) {
	ctx := context.Background()
	kr, clock := newKeyring(t)
	sealer := newSealer(t)
	key, secret, err := kr.Create(ctx, keyring.Key{Name: "export"}, keyring.Issue{Kind: keyring.KindSharedSecret, Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	text := secret.Reveal()
	if key.Signing != keyring.SigningRequired || !keyring.IsToken(text, "ck_sec") || !strings.HasPrefix(text, key.Credentials[0].Hint) {
		t.Errorf("signing %s, hint %q", key.Signing, key.Credentials[0].Hint)
	}
	wantSigned(t, kr, key.ID, sealer, text, keyring.InForce)
	wantSigned(t, kr, key.ID, sealer, "another secret, of nobody", keyring.Unknown)
	wantSigned(t, kr, "key_00000000000000000000", sealer, text, keyring.Unknown)
	wantSigned(t, kr, "", sealer, text, keyring.Unknown)

	// Sent instead of used, it proves who was careless, and lets nobody in.
	if proven, verdict := kr.VerifyToken(text, "ck"); verdict != keyring.MustSign || proven.ID() != key.ID {
		t.Errorf("sent as a token: verdict %d", verdict)
	}
	if found, n, err := kr.Identify(ctx, secret); err != nil || found.ID != key.ID || n != 1 {
		t.Errorf("identify: %v", err)
	}

	rotated, next, err := kr.Rotate(ctx, key.ID, keyring.AnyRevision, keyring.RotationPlan{Overlap: time.Hour}, keyring.Issue{Sealer: sealer})
	if err != nil || rotated.Credentials[1].Kind != keyring.KindSharedSecret {
		t.Fatalf("rotating: %v", err)
	}
	for _, s := range []string{text, next.Reveal()} {
		wantSigned(t, kr, key.ID, sealer, s, keyring.InForce)
	}
	clock.Set(clock.Now().Add(time.Hour))
	wantSigned(t, kr, key.ID, sealer, text, keyring.Expired)
	wantSigned(t, kr, key.ID, sealer, next.Reveal(), keyring.InForce)

	ended, err := kr.EndCredential(ctx, key.ID, keyring.AnyRevision, 1)
	if err != nil || ended.Credentials[0].Sealed != nil {
		t.Errorf("an ended secret is kept: %v", err)
	}
	wantSigned(t, kr, key.ID, sealer, text, keyring.Unknown)
	if _, err := kr.Suspend(ctx, key.ID, keyring.AnyRevision); err != nil {
		t.Fatal(err)
	}
	wantSigned(t, kr, key.ID, sealer, next.Reveal(), keyring.Suspended)
}

// What was proven a while ago is judged by what the key is now.
func TestRenew(t *testing.T) {
	ctx := context.Background()
	kr, clock := newKeyring(t)
	sealer := newSealer(t)
	key, secret, err := kr.Create(ctx, keyring.Key{Name: "export", ExpiresAt: clock.Now().Add(time.Hour)}, keyring.Issue{Kind: keyring.KindSharedSecret, Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	proven, _, err := kr.VerifySigned(key.ID, sealer, holds(t, secret.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	want := func(verdict keyring.Verdict) {
		t.Helper()
		if now, got := kr.Renew(proven); got != verdict || now.IsZero() != (verdict == keyring.Unknown) {
			t.Errorf("verdict %d, want %d", got, verdict)
		}
	}
	want(keyring.InForce)
	if _, _, err := kr.AddCredential(ctx, key.ID, keyring.AnyRevision, keyring.Issue{}); err != nil {
		t.Fatal(err)
	}
	want(keyring.InForce)
	if _, err := kr.EndCredential(ctx, key.ID, keyring.AnyRevision, 1); err != nil {
		t.Fatal(err)
	}
	want(keyring.Ended)
	clock.Set(clock.Now().Add(time.Hour))
	want(keyring.Ended)
	if _, err := kr.Revoke(ctx, key.ID, keyring.AnyRevision); err != nil {
		t.Fatal(err)
	}
	want(keyring.Revoked)
	if _, err := kr.Delete(ctx, key.ID, keyring.AnyRevision); err != nil {
		t.Fatal(err)
	}
	want(keyring.Unknown)
}

func TestPublicKey(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key, shown, err := kr.Create(ctx, keyring.Key{Name: "export"}, keyring.Issue{Kind: keyring.KindPublicKey, PublicKey: der})
	if err != nil || !shown.IsZero() || !strings.HasPrefix(key.Credentials[0].Hint, "sha256:") {
		t.Fatalf("%v, %+v", err, key)
	}
	want, err := hmacsig.PublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	_, verdict, err := kr.VerifySigned(key.ID, nil, want.Equal)
	if err != nil || verdict != keyring.InForce {
		t.Errorf("verdict %d, %v", verdict, err)
	}
}

func TestSigningModes(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	sealer := newSealer(t)
	shared := keyring.Issue{Kind: keyring.KindSharedSecret, Sealer: sealer}
	wantField := func(err error, field string) {
		t.Helper()
		if bad := (*keyring.InvalidError)(nil); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("error %v, want one about %s", err, field)
		}
	}
	setSigning := func(id string, s keyring.Signing) error {
		_, err := kr.Edit(ctx, id, keyring.AnyRevision, keyring.Edits{}, func(k *keyring.Key) error { k.Signing = s; return nil })
		return err
	}
	_, _, err := kr.Create(ctx, keyring.Key{Name: "k", Signing: keyring.SigningRequired}, keyring.Issue{})
	wantField(err, "signing")
	_, _, err = kr.Create(ctx, keyring.Key{Name: "k", Signing: keyring.SigningOff}, shared)
	wantField(err, "signing")
	_, _, err = kr.Create(ctx, keyring.Key{Name: "k"}, keyring.Issue{Kind: "password"})
	wantField(err, "credential.kind")
	_, _, err = kr.Create(ctx, keyring.Key{Name: "k"}, keyring.Issue{Kind: keyring.KindPublicKey})
	wantField(err, "credential.public_key")
	_, _, err = kr.Create(ctx, keyring.Key{Name: "k"}, keyring.Issue{Kind: keyring.KindPublicKey, PublicKey: []byte("junk")})
	wantField(err, "credential.public_key")
	_, _, err = kr.Create(ctx, keyring.Key{Name: "k"}, keyring.Issue{PublicKey: []byte("junk")})
	wantField(err, "credential.public_key")
	_, _, err = kr.Create(ctx, keyring.Key{Name: "k"}, keyring.Issue{Kind: keyring.KindSharedSecret, Sealer: sealer, Secret: keyring.NewSecret("short")})
	wantField(err, "credential.secret")
	if _, _, err = kr.Create(ctx, keyring.Key{Name: "k"}, keyring.Issue{Kind: keyring.KindSharedSecret}); !errors.Is(err, keyring.ErrSealed) {
		t.Errorf("without a master key: %v", err)
	}

	key, token := create(t, kr, keyring.Key{})
	_, _, err = kr.AddCredential(ctx, key.ID, keyring.AnyRevision, shared)
	wantField(err, "signing")
	wantField(setSigning(key.ID, keyring.SigningRequired), "signing")
	if err := setSigning(key.ID, keyring.SigningOptional); err != nil {
		t.Fatal(err)
	}
	_, secret, err := kr.AddCredential(ctx, key.ID, keyring.AnyRevision, shared)
	if err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, kr, token, keyring.InForce)
	wantSigned(t, kr, key.ID, sealer, secret.Reveal(), keyring.InForce)
	if err := setSigning(key.ID, keyring.SigningRequired); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, kr, token, keyring.MustSign)
	wantSigned(t, kr, key.ID, sealer, secret.Reveal(), keyring.InForce)
	if err := setSigning(key.ID, keyring.SigningOff); err != nil {
		t.Fatal(err)
	}
	wantSigned(t, kr, key.ID, sealer, secret.Reveal(), keyring.MustNotSign)
}

func TestMasterKeys(t *testing.T) {
	ctx := context.Background()
	path := t.TempDir() + "/keys.db"
	kr, _ := open(t, path)
	defer func() { kr.Close() }()
	oldKey, newKey := keyring.NewMasterKey(), keyring.NewMasterKey()
	oldOnly := newSealer(t, oldKey)
	if kr.HasSealed() || kr.CheckSealed(nil) != nil {
		t.Error("an empty store has secrets")
	}
	var ids, secrets []string
	for range 3 {
		key, secret, err := kr.Create(ctx, keyring.Key{Name: "export"}, keyring.Issue{Kind: keyring.KindSharedSecret, Sealer: oldOnly})
		if err != nil {
			t.Fatal(err)
		}
		ids, secrets = append(ids, key.ID), append(secrets, secret.Reveal())
	}
	for name, sealer := range map[string]*keyring.Sealer{"none": nil, "another": newSealer(t)} {
		if err := kr.CheckSealed(sealer); !errors.Is(err, keyring.ErrSealed) || !strings.Contains(err.Error(), "3 of 3") {
			t.Errorf("master key %s: %v", name, err)
		}
		if _, verdict, err := kr.VerifySigned(ids[0], sealer, holds(t, secrets[0])); !errors.Is(err, keyring.ErrSealed) || verdict != keyring.Unknown {
			t.Errorf("master key %s: verdict %d, %v", name, verdict, err)
		}
	}
	both := newSealer(t, newKey, oldKey)
	if err := kr.CheckSealed(both); err != nil || !kr.HasSealed() {
		t.Error(err)
	}
	if n, err := kr.Reseal(ctx, both); n != 3 || err != nil {
		t.Errorf("resealed %d, %v", n, err)
	}
	if n, err := kr.Reseal(ctx, both); n != 0 || err != nil {
		t.Errorf("resealed %d a second time, %v", n, err)
	}
	newOnly := newSealer(t, newKey)
	for i, id := range ids {
		wantSigned(t, kr, id, newOnly, secrets[i], keyring.InForce)
	}
	if err := kr.CheckSealed(oldOnly); err == nil {
		t.Error("the old master key still opens")
	}

	// Nothing of a secret is in the file.
	if err := kr.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if bytes.Contains(file, []byte(secret[7:])) {
			t.Error("a secret is in the file")
		}
	}
	if bytes.Contains(file, []byte(newKey.Reveal())) {
		t.Error("the master key is in the file")
	}
	kr, _ = open(t, path)
	wantSigned(t, kr, ids[0], newOnly, secrets[0], keyring.InForce)
}

func TestNewSealerRefuses(t *testing.T) {
	good := keyring.NewMasterKey()
	for name, keys := range map[string][]keyring.Secret{
		"none":      {},
		"empty":     {keyring.NewSecret("")},
		"short":     {keyring.NewSecret("c2hvcnQ=")},
		"words":     {keyring.NewSecret("correct horse battery staple")},
		"twice":     {good, good},
		"bad later": {good, keyring.NewSecret("x")},
	} {
		if _, err := keyring.NewSealer(keys...); err == nil || strings.Contains(err.Error(), "horse") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n",
	} {
		if _, err := keyring.NewSealer(keyring.NewSecret(text)); err != nil {
			t.Errorf("%v", err)
		}
	}
}

func TestImportOfSecretsAndPublicKeys(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	sealer := newSealer(t)
	const strong, other = "werxhqb98rpaxn39848xrunpaw3489ruxnpa98w4rxn", "k39Ds7Gq2LmPzX81vbNtYwEo"
	spec := keyring.Key{Name: "hawk client"}
	keys, err := kr.Import(ctx, []keyring.Import{
		{Key: spec, Secret: keyring.NewSecret(strong), Sealer: sealer},
		{Key: spec, Token: keyring.NewSecret(other)},
	}, "ck", false)
	if err != nil {
		t.Fatal(err)
	}
	wantSigned(t, kr, keys[0].ID, sealer, strong, keyring.InForce)
	for name, in := range map[string]keyring.Import{
		"a secret that a key has":   {Key: spec, Secret: keyring.NewSecret(strong), Sealer: sealer},
		"a secret that is a token":  {Key: spec, Secret: keyring.NewSecret(other), Sealer: sealer},
		"two credentials":           {Key: spec, Secret: keyring.NewSecret("Zq8Nf3TbLk5WxRv7YcJm2Hd6"), Token: keyring.NewSecret(other), Sealer: sealer},
		"a weak one":                {Key: spec, Secret: keyring.NewSecret("hunter2hunter2hunter2"), Sealer: sealer},
		"a public key that is none": {Key: spec, PublicKey: []byte("x")},
	} {
		if _, err := kr.Import(ctx, []keyring.Import{in}, "ck", false); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkVerifySigned(b *testing.B) {
	kr, _ := newKeyring(b)
	sealer := newSealer(b)
	key, secret, err := kr.Create(context.Background(), keyring.Key{Name: "export"}, keyring.Issue{Kind: keyring.KindSharedSecret, Sealer: sealer})
	if err != nil {
		b.Fatal(err)
	}
	fits := holds(b, secret.Reveal())
	b.ReportAllocs()
	for b.Loop() {
		if _, verdict, err := kr.VerifySigned(key.ID, sealer, fits); verdict != keyring.InForce {
			b.Fatal(err)
		}
	}
}
