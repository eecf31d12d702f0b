package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func addrs(t testing.TB, entries ...string) []netip.Prefix {
	t.Helper()
	list, err := keyring.ParseAddrs("allow", entries)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A list that limited who may use a key does not come to mean "anyone" by being
// emptied, unless that is said.
func TestEmptiedListsDoNotOpen(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	key, _ := create(t, kr, keyring.Key{Allow: addrs(t, "10.0.0.0/8"), Origins: []string{"https://app.example.com"}, ClientCerts: []keyring.Fingerprint{{1}}})
	for name, edit := range map[string]func(*keyring.Key) error{
		"allow":        func(k *keyring.Key) error { k.Allow = nil; return nil },
		"origins":      func(k *keyring.Key) error { k.Origins = []string{}; return nil },
		"client_certs": func(k *keyring.Key) error { k.ClientCerts = nil; return nil },
	} {
		var bad *keyring.InvalidError
		if _, err := kr.Edit(ctx, key.ID, keyring.AnyRevision, keyring.Edits{}, edit); !errors.As(err, &bad) || bad.Field != name {
			t.Errorf("%s emptied: %v", name, err)
		}
		if _, err := kr.Edit(ctx, key.ID, keyring.AnyRevision, keyring.Edits{AllowAnyone: true}, edit); err != nil {
			t.Errorf("%s emptied on purpose: %v", name, err)
		}
	}
	org := func(list ...string) func(*keyring.Org) error {
		return func(o *keyring.Org) error { o.Allow = addrs(t, list...); return nil }
	}
	if _, _, err := kr.PutOrg(ctx, "acme", keyring.AnyRevision, keyring.Edits{}, org("10.0.0.0/8")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := kr.PutOrg(ctx, "acme", keyring.AnyRevision, keyring.Edits{}, org()); err == nil {
		t.Error("an org's list was emptied")
	}
}

// Leaving an org whose addresses limited the key is emptying a list, too.
func TestMovingOutOfALimitedOrg(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	for name, allow := range map[string][]string{"bound": {"10.0.0.0/8"}, "also-bound": {"10.1.0.0/16"}, "open": nil} {
		_, _, err := kr.PutOrg(ctx, name, keyring.AnyRevision, keyring.Edits{}, func(o *keyring.Org) error { o.Allow = addrs(t, allow...); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	move := func(id, to string, opts keyring.Edits, allow ...string) error {
		_, err := kr.Edit(ctx, id, keyring.AnyRevision, opts, func(k *keyring.Key) error {
			k.Org, k.Allow = to, addrs(t, allow...)
			return nil
		})
		return err
	}
	key, _ := create(t, kr, keyring.Key{Org: "bound"})
	for _, to := range []string{"", "open"} {
		var bad *keyring.InvalidError
		if err := move(key.ID, to, keyring.Edits{}); !errors.As(err, &bad) || bad.Field != "org" {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if err := move(key.ID, "also-bound", keyring.Edits{}); err != nil {
		t.Errorf("to an org that is limited too: %v", err)
	}
	if err := move(key.ID, "open", keyring.Edits{}, "10.2.0.0/16"); err != nil {
		t.Errorf("with a list of its own: %v", err)
	}
	other, _ := create(t, kr, keyring.Key{Org: "bound"})
	if err := move(other.ID, "", keyring.Edits{AllowAnyone: true}); err != nil {
		t.Errorf("on purpose: %v", err)
	}
}

func TestEditKeepsWhatTheKeyringOwns(t *testing.T) {
	kr, _ := newKeyring(t)
	key, token := create(t, kr, keyring.Key{})
	after, err := kr.Edit(context.Background(), key.ID, key.Revision, keyring.Edits{}, func(k *keyring.Key) error {
		*k = keyring.Key{ID: "key_00000000000000000000", Name: "new", State: keyring.StateRevoked, Revision: 99}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if after.ID != key.ID || after.State != keyring.StateActive || after.Revision != key.Revision+1 ||
		after.CreatedAt != key.CreatedAt || len(after.Credentials) != 1 {
		t.Fatalf("%+v", after)
	}
	wantVerdict(t, kr, token, keyring.InForce)
}

func TestLostUpdate(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	key, _ := create(t, kr, keyring.Key{})
	rename := func(name string) func(*keyring.Key) error {
		return func(k *keyring.Key) error { k.Name = name; return nil }
	}
	if _, err := kr.Edit(ctx, key.ID, key.Revision, keyring.Edits{}, rename("first")); err != nil {
		t.Fatal(err)
	}
	if _, err := kr.Edit(ctx, key.ID, key.Revision, keyring.Edits{}, rename("second")); !errors.Is(err, keyring.ErrConflict) {
		t.Fatalf("the second of two edits of one revision: %v", err)
	}
	// Without a precondition each edit is applied to what the last one left.
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			_, err := kr.Edit(ctx, key.ID, keyring.AnyRevision, keyring.Edits{}, func(k *keyring.Key) error {
				k.Tags = append(k.Tags, fmt.Sprintf("t%d", i))
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	after, err := kr.Key(ctx, key.ID)
	if err != nil || len(after.Tags) != 10 {
		t.Fatalf("%v, %v", after.Tags, err)
	}
}

func TestOrgs(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	if _, _, err := kr.Create(ctx, keyring.Key{Name: "x", Org: "acme"}, keyring.Issue{}); err == nil || !strings.Contains(err.Error(), "create it first") {
		t.Fatalf("a key of an org that does not exist: %v", err)
	}
	_, created, err := kr.PutOrg(ctx, "acme", keyring.AnyRevision, keyring.Edits{}, func(o *keyring.Org) error {
		o.Tier, o.Deny = "gold", addrs(t, "203.0.113.0/24")
		o.Metadata = map[string]string{"region": "eu"}
		return nil
	})
	if err != nil || !created {
		t.Fatal(created, err)
	}
	key, token := create(t, kr, keyring.Key{Org: "acme"})
	proven, verdict := kr.VerifyToken(token, "ck")
	if verdict != keyring.InForce || proven.Org() != "acme" || proven.Tier() != "gold" || proven.ID() != key.ID {
		t.Fatalf("%d %s %s", verdict, proven.Org(), proven.Tier())
	}
	if region, _ := proven.Metadata("region"); region != "eu" {
		t.Errorf("the org's metadata is not seen: %q", region)
	}
	if proven.AllowsAddr(netip.MustParseAddr("203.0.113.7")) || !proven.AllowsAddr(netip.MustParseAddr("198.51.100.7")) || proven.AllowsAddr(netip.Addr{}) {
		t.Error("the org's deny list does not bind its key")
	}
	if _, err := kr.SetOrgState(ctx, "acme", keyring.AnyRevision, keyring.StateSuspended); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, kr, token, keyring.OrgSuspended)
	if _, err := kr.SetOrgState(ctx, "acme", keyring.AnyRevision, keyring.StateActive); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, kr, token, keyring.InForce)
}

func TestImport(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	const legacy = "1f7d3c52-0c1e-4b7e-9d57-6f2a8c9b0e11"
	digest := keyring.DigestOf("another-token-of-more-than-112-bits")
	imports := []keyring.Import{
		{Key: keyring.Key{Name: "legacy", Scopes: []string{"*"}}, Token: keyring.NewSecret(legacy)},
		{Key: keyring.Key{Name: "by digest"}, Digest: &digest},
	}
	if keys, err := kr.Import(ctx, imports, "ck", true); err != nil || len(keys) != 2 {
		t.Fatalf("dry run: %v", err)
	}
	wantVerdict(t, kr, legacy, keyring.Unknown)
	if _, err := kr.Import(ctx, imports, "ck", false); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, kr, legacy, keyring.InForce)
	wantVerdict(t, kr, "another-token-of-more-than-112-bits", keyring.InForce)

	fresh := keyring.Import{Key: keyring.Key{Name: "fresh"}, Token: keyring.NewSecret("2f7d3c52-0c1e-4b7e-9d57-6f2a8c9b0e12")}
	weak := keyring.Import{Key: keyring.Key{Name: "weak"}, Token: keyring.NewSecret("changeme")}
	for name, c := range map[string]struct {
		imports []keyring.Import
		want    string
	}{
		"known token":  {[]keyring.Import{fresh, imports[0]}, "already exists"},
		"twice":        {[]keyring.Import{fresh, fresh}, "the same as in entry 0"},
		"weak":         {[]keyring.Import{fresh, weak}, "keys[1].token"},
		"no token":     {[]keyring.Import{fresh, {Key: keyring.Key{Name: "x"}}}, "one of them"},
		"no name":      {[]keyring.Import{fresh, {Token: weak.Token}}, "keys[1].name"},
		"unknown org":  {[]keyring.Import{fresh, {Key: keyring.Key{Name: "x", Org: "nobody"}, Token: weak.Token}}, "no org"},
		"empty digest": {[]keyring.Import{fresh, {Key: keyring.Key{Name: "x"}, Digest: new([32]byte)}}, "no token"},
		"nothing":      {nil, "1 to"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := kr.Import(ctx, c.imports, "ck", false); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			wantVerdict(t, kr, fresh.Token.Reveal(), keyring.Unknown) // whole or nothing
		})
	}
	weak.AllowWeak = true
	if _, err := kr.Import(ctx, []keyring.Import{weak}, "ck", false); err != nil {
		t.Fatalf("weak on purpose: %v", err)
	}
}

// Everything survives closing and opening again.
func TestReopen(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "store", "keys.db")
	kr, _ := open(t, path)
	_, kept := create(t, kr, keyring.Key{Scopes: []string{"a:b"}, Allow: addrs(t, "10.0.0.0/8")})
	gone, revoked := create(t, kr, keyring.Key{})
	if _, err := kr.Revoke(ctx, gone.ID, keyring.AnyRevision); err != nil {
		t.Fatal(err)
	}
	if err := kr.Close(); err != nil {
		t.Fatal(err)
	}
	kr, _ = open(t, path)
	defer kr.Close()
	wantVerdict(t, kr, revoked, keyring.Revoked)
	proven, verdict := kr.VerifyToken(kept, "ck")
	if verdict != keyring.InForce || !proven.Covers("a:b", nil) || proven.Covers("a:c", nil) ||
		!proven.AllowsAddr(netip.MustParseAddr("10.1.2.3")) || proven.AllowsAddr(netip.MustParseAddr("11.1.2.3")) {
		t.Fatalf("verdict %d", verdict)
	}
	if stats := kr.Stats(); stats.Keys != 2 || stats.Damaged != 0 {
		t.Fatalf("%+v", stats)
	}
}

func TestRoles(t *testing.T) {
	kr, _ := newKeyring(t)
	_, token := create(t, kr, keyring.Key{Roles: []string{"reader"}})
	roles, err := keyring.NewRoles(map[string][]string{"reader": {"contacts:read"}})
	if err != nil {
		t.Fatal(err)
	}
	proven, _ := kr.VerifyToken(token, "ck")
	if !proven.Covers("contacts:read", roles) || proven.Covers("contacts:write", roles) || proven.Covers("contacts:read", nil) {
		t.Error("a role grants what the configuration says, no more and no less")
	}
	for name, bad := range map[string]map[string][]string{
		"bad name": {"a b": {"x"}}, "no scopes": {"r": nil}, "bad scope": {"r": {"a b"}},
	} {
		if _, err := keyring.NewRoles(bad); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}

func TestFieldsAreBounded(t *testing.T) {
	kr, _ := newKeyring(t)
	long := strings.Repeat("x", 5000)
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf("t%d", i)
	}
	metadata := map[string]string{}
	for _, name := range many {
		metadata[name] = ""
	}
	for field, spec := range map[string]keyring.Key{
		"name":         {Name: long},
		"owner":        {Name: "x", Owner: long},
		"purpose":      {Name: "x", Purpose: long},
		"tier":         {Name: "x", Tier: long},
		"scopes":       {Name: "x", Scopes: many},
		"roles":        {Name: "x", Roles: many},
		"tags":         {Name: "x", Tags: many},
		"origins":      {Name: "x", Origins: many},
		"client_certs": {Name: "x", ClientCerts: make([]keyring.Fingerprint, keyring.MaxClientCerts+1)},
		"metadata":     {Name: "x", Metadata: metadata},
		"signing":      {Name: "x", Signing: "maybe"},
	} {
		var bad *keyring.InvalidError
		if _, _, err := kr.Create(context.Background(), spec, keyring.Issue{}); !errors.As(err, &bad) || !strings.HasPrefix(bad.Field, field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for name, text := range map[string]string{
		"line break": "a\r\nX-Admin: 1", "NUL": "a\x00", "escape": "\x1b[2J", "not UTF-8": "\xff", "bidi override": "a\u202eb", "empty": "",
	} {
		if _, _, err := kr.Create(context.Background(), keyring.Key{Name: text}, keyring.Issue{}); err == nil {
			t.Errorf("name with %s accepted", name)
		}
	}
	for _, origin := range []string{"*", "null", "https://", "https://App.example.com", "https://app.example.com/", "ftp://x", "https://a b", "//x"} {
		if _, _, err := kr.Create(context.Background(), keyring.Key{Name: "x", Origins: []string{origin}}, keyring.Issue{}); err == nil {
			t.Errorf("origin %q accepted", origin)
		}
	}
}

// The request path makes no garbage.
func TestVerifyDoesNotAllocate(t *testing.T) {
	kr, _ := newKeyring(t)
	_, token := create(t, kr, keyring.Key{Scopes: []string{"a:b"}, Allow: addrs(t, "10.0.0.0/8")})
	addr := netip.MustParseAddr("10.1.2.3")
	allocs := testing.AllocsPerRun(1000, func() {
		proven, verdict := kr.VerifyToken(token, "ck")
		if verdict != keyring.InForce || !proven.Covers("a:b", nil) || !proven.AllowsAddr(addr) {
			t.Fatal("refused")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per request", allocs)
	}
}
