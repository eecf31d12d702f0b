package keyring_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

func parseLimits(t testing.TB, texts ...string) []limit.Limit {
	t.Helper()
	limits, err := keyring.ParseLimits("limits", texts)
	if err != nil {
		t.Fatal(err)
	}
	return limits
}

// Limits are in force with the next verification, of the key and of its org.
func TestLimitsOfAProvenKey(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	org := func(tier string, limits ...string) {
		t.Helper()
		if _, _, err := kr.PutOrg(ctx, "acme", keyring.AnyRevision, keyring.Edits{}, func(o *keyring.Org) error {
			o.Tier, o.Limits = tier, parseLimits(t, limits...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	org("gold", "7/month")
	key, token := create(t, kr, keyring.Key{Org: "acme", Limits: parseLimits(t, "5/day", "3/1s")})
	want := func(tier string, own, shared []limit.Limit) {
		t.Helper()
		proven, verdict := kr.VerifyToken(token, keyring.DefaultTokenPrefix)
		limits, orgTier := proven.OrgLimits()
		if verdict != keyring.InForce || !slices.Equal(proven.Limits(), own) || !slices.Equal(limits, shared) || orgTier != tier {
			t.Errorf("%v: %v, and %v of the org in tier %q", verdict, proven.Limits(), limits, orgTier)
		}
	}
	want("gold", parseLimits(t, "3/1s", "5/day"), parseLimits(t, "7/month"))
	org("silver", "8/1h")
	edited, err := kr.Edit(ctx, key.ID, keyring.AnyRevision, keyring.Edits{}, func(k *keyring.Key) error {
		k.Limits = parseLimits(t, "9/1m")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want("silver", parseLimits(t, "9/1m"), parseLimits(t, "8/1h"))

	// Another spelling of the same is no change.
	same, err := kr.Edit(ctx, key.ID, keyring.AnyRevision, keyring.Edits{}, func(k *keyring.Key) error {
		k.Limits = parseLimits(t, "9/60s")
		return nil
	})
	if err != nil || same.Revision != edited.Revision {
		t.Errorf("revision %d, %v", same.Revision, err)
	}
}

// Whatever way limits take into a key, they are checked.
func TestLimitsAreChecked(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	for name, limits := range map[string][]limit.Limit{
		"nothing":      {{Amount: 0, Span: 1}},
		"no span":      {{Amount: 1}},
		"other span":   {{Amount: 1, Span: -3}},
		"long":         {{Amount: 1, Span: 1 << 30}},
		"large":        {{Amount: limit.MaxRate + 1, Span: 1}},
		"large quota":  {{Amount: limit.MaxQuota + 1, Span: limit.Month}},
		"twice":        {{Amount: 1, Span: 1}, {Amount: 2, Span: 1}},
		"nine of them": append(parseLimits(t, "1/1s", "1/2s", "1/3s", "1/4s", "1/5s", "1/6s", "1/7s", "1/8s"), limit.Limit{Amount: 1, Span: 9}),
	} {
		var bad *keyring.InvalidError
		if _, _, err := kr.Create(ctx, keyring.Key{Name: "x", Limits: limits}, keyring.Issue{}); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := kr.PutOrg(ctx, "acme", keyring.AnyRevision, keyring.Edits{}, func(o *keyring.Org) error { o.Limits = limits; return nil }); !errors.As(err, &bad) {
			t.Errorf("%s, of an org: %v", name, err)
		}
	}
}
