package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/store/bolt"
)

// testClock is a wall clock that a test sets.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// open opens a keyring on a bbolt file of the test, at noon.
func open(t testing.TB, path string) (*keyring.Keyring, *testClock) {
	t.Helper()
	clock := &testClock{now: noon}
	store, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kr, err := keyring.Open(context.Background(), store, keyring.Options{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return kr, clock
}

func newKeyring(t testing.TB) (*keyring.Keyring, *testClock) {
	t.Helper()
	kr, clock := open(t, filepath.Join(t.TempDir(), "store", "keys.db"))
	t.Cleanup(func() {
		if err := kr.Close(); err != nil {
			t.Error(err)
		}
	})
	return kr, clock
}

func create(t testing.TB, kr *keyring.Keyring, spec keyring.Key) (*keyring.Key, string) {
	t.Helper()
	if spec.Name == "" {
		spec.Name = "test"
	}
	key, token, err := kr.Create(context.Background(), spec, keyring.Issue{Prefix: "ck"})
	if err != nil {
		t.Fatal(err)
	}
	return key, token.Reveal()
}

func wantVerdict(t testing.TB, kr *keyring.Keyring, token string, want keyring.Verdict) {
	t.Helper()
	if _, got := kr.VerifyToken(token, "ck"); got != want {
		t.Fatalf("verdict %d, want %d", got, want)
	}
}

func TestStateMachine(t *testing.T) {
	ctx := context.Background()
	type step func(*keyring.Keyring, string) error
	state := func(f func(*keyring.Keyring, context.Context, string, uint64) (*keyring.Key, error)) step {
		return func(kr *keyring.Keyring, id string) error { _, err := f(kr, ctx, id, keyring.AnyRevision); return err }
	}
	suspend, resume, revoke := state((*keyring.Keyring).Suspend), state((*keyring.Keyring).Resume), state((*keyring.Keyring).Revoke)
	remove := func(kr *keyring.Keyring, id string) error {
		_, err := kr.Delete(ctx, id, keyring.AnyRevision)
		return err
	}
	edit := func(kr *keyring.Keyring, id string) error {
		_, err := kr.Edit(ctx, id, keyring.AnyRevision, keyring.Edits{}, func(k *keyring.Key) error { k.Name = "edited"; return nil })
		return err
	}
	rotate := func(kr *keyring.Keyring, id string) error {
		_, _, err := kr.Rotate(ctx, id, keyring.AnyRevision, keyring.RotationPlan{Overlap: time.Hour}, keyring.Issue{})
		return err
	}
	for name, c := range map[string]struct {
		steps []step
		err   error // of the last step
		want  keyring.Verdict
	}{
		"active":                    {nil, nil, keyring.InForce},
		"suspended":                 {[]step{suspend}, nil, keyring.Suspended},
		"suspended twice":           {[]step{suspend, suspend}, nil, keyring.Suspended},
		"resumed":                   {[]step{suspend, resume}, nil, keyring.InForce},
		"revoked":                   {[]step{revoke}, nil, keyring.Revoked},
		"revoked when suspended":    {[]step{suspend, revoke}, nil, keyring.Revoked},
		"revoked, then resumed":     {[]step{revoke, resume}, keyring.ErrState, keyring.Revoked},
		"revoked, then suspended":   {[]step{revoke, suspend}, keyring.ErrState, keyring.Revoked},
		"revoked, then edited":      {[]step{revoke, edit}, keyring.ErrState, keyring.Revoked},
		"revoked, then rotated":     {[]step{revoke, rotate}, keyring.ErrState, keyring.Revoked},
		"deleted while active":      {[]step{remove}, keyring.ErrState, keyring.InForce},
		"deleted while suspended":   {[]step{suspend, remove}, keyring.ErrState, keyring.Suspended},
		"deleted":                   {[]step{revoke, remove}, nil, keyring.Unknown},
		"deleted, then resumed":     {[]step{revoke, remove, resume}, keyring.ErrNotFound, keyring.Unknown},
		"suspended keys can rotate": {[]step{suspend, rotate}, nil, keyring.Suspended},
		"suspended keys can change": {[]step{suspend, edit}, nil, keyring.Suspended},
	} {
		t.Run(name, func(t *testing.T) {
			kr, _ := newKeyring(t)
			key, token := create(t, kr, keyring.Key{})
			var err error
			for _, s := range c.steps {
				err = s(kr, key.ID)
			}
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			wantVerdict(t, kr, token, c.want)
		})
	}
}

func TestLifetime(t *testing.T) {
	kr, clock := newKeyring(t)
	_, token := create(t, kr, keyring.Key{NotBefore: noon.Add(time.Hour), ExpiresAt: noon.Add(2 * time.Hour)})
	for _, c := range []struct {
		at   time.Duration
		want keyring.Verdict
	}{
		{0, keyring.NotYetValid},
		{time.Hour - time.Millisecond, keyring.NotYetValid},
		{time.Hour, keyring.InForce},
		{2*time.Hour - time.Millisecond, keyring.InForce},
		{2 * time.Hour, keyring.Expired},
		{2*time.Hour + time.Millisecond, keyring.Expired},
	} {
		clock.Set(noon.Add(c.at))
		wantVerdict(t, kr, token, c.want)
	}
}

func TestTimesThatCannotBe(t *testing.T) {
	kr, _ := newKeyring(t)
	for name, spec := range map[string]keyring.Key{
		"expired already":    {ExpiresAt: noon},
		"ends before begins": {NotBefore: noon.Add(2 * time.Hour), ExpiresAt: noon.Add(time.Hour)},
		"before 1970":        {ExpiresAt: time.Unix(-1, 0)},
		"year 10000":         {ExpiresAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		spec.Name = name
		var bad *keyring.InvalidError
		if _, _, err := kr.Create(context.Background(), spec, keyring.Issue{}); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	create(t, kr, keyring.Key{ExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)})
}

func TestRotation(t *testing.T) {
	ctx := context.Background()
	kr, clock := newKeyring(t)
	key, old := create(t, kr, keyring.Key{Scopes: []string{"a:b"}})
	rotated, secret, err := kr.Rotate(ctx, key.ID, key.Revision, keyring.RotationPlan{Overlap: time.Hour}, keyring.Issue{Prefix: "ck"})
	if err != nil {
		t.Fatal(err)
	}
	if rotated.ID != key.ID || fmt.Sprint(rotated.Scopes) != "[a:b]" || rotated.Revision != key.Revision+1 {
		t.Fatalf("rotation changed more than the credential: %+v", rotated)
	}
	wantVerdict(t, kr, old, keyring.InForce)
	wantVerdict(t, kr, secret.Reveal(), keyring.InForce)
	if _, _, err := kr.Rotate(ctx, key.ID, keyring.AnyRevision, keyring.RotationPlan{Overlap: time.Hour}, keyring.Issue{}); !errors.Is(err, keyring.ErrState) {
		t.Fatalf("a second rotation while one is pending: %v", err)
	}
	clock.Set(noon.Add(time.Hour - time.Millisecond))
	wantVerdict(t, kr, old, keyring.InForce)
	clock.Set(noon.Add(time.Hour))
	wantVerdict(t, kr, old, keyring.Expired)
	wantVerdict(t, kr, secret.Reveal(), keyring.InForce)
	if _, _, err := kr.Rotate(ctx, key.ID, keyring.AnyRevision, keyring.RotationPlan{Overlap: 0}, keyring.Issue{}); err != nil {
		t.Fatalf("after the overlap: %v", err)
	}
	wantVerdict(t, kr, secret.Reveal(), keyring.Ended)
}

func TestRotationCancelled(t *testing.T) {
	ctx := context.Background()
	kr, clock := newKeyring(t)
	key, old := create(t, kr, keyring.Key{})
	_, secret, err := kr.Rotate(ctx, key.ID, keyring.AnyRevision, keyring.RotationPlan{Overlap: time.Hour}, keyring.Issue{Prefix: "ck"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kr.EndCredential(ctx, key.ID, keyring.AnyRevision, 2); !errors.Is(err, keyring.ErrState) {
		t.Fatalf("ending the new credential would leave the key to die with the old one: %v", err)
	}
	if _, err := kr.CancelRotation(ctx, key.ID, keyring.AnyRevision); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, kr, secret.Reveal(), keyring.Ended)
	clock.Set(noon.Add(1000 * time.Hour))
	wantVerdict(t, kr, old, keyring.InForce)
	if _, err := kr.CancelRotation(ctx, key.ID, keyring.AnyRevision); !errors.Is(err, keyring.ErrState) {
		t.Fatalf("cancelled twice: %v", err)
	}
}

func TestRotationEndedEarly(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	key, old := create(t, kr, keyring.Key{})
	_, secret, err := kr.Rotate(ctx, key.ID, keyring.AnyRevision, keyring.RotationPlan{Overlap: time.Hour}, keyring.Issue{Prefix: "ck"})
	if err != nil {
		t.Fatal(err)
	}
	ended, err := kr.EndCredential(ctx, key.ID, keyring.AnyRevision, 1)
	if err != nil || ended.Rotation != nil {
		t.Fatalf("%v, rotation %v", err, ended.Rotation)
	}
	wantVerdict(t, kr, old, keyring.Ended)
	wantVerdict(t, kr, secret.Reveal(), keyring.InForce)
}

// The overlap never gives the old credential more time than it had.
func TestRotationNeverLengthens(t *testing.T) {
	ctx := context.Background()
	kr, clock := newKeyring(t)
	key, _ := create(t, kr, keyring.Key{})
	_, short, err := kr.AddCredential(ctx, key.ID, keyring.AnyRevision, keyring.Issue{Prefix: "ck", ExpiresAt: noon.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := kr.Rotate(ctx, key.ID, keyring.AnyRevision, keyring.RotationPlan{Overlap: time.Hour}, keyring.Issue{}); err != nil {
		t.Fatal(err)
	}
	clock.Set(noon.Add(time.Minute))
	wantVerdict(t, kr, short.Reveal(), keyring.Expired)
}

func TestRotateInParallel(t *testing.T) {
	kr, _ := newKeyring(t)
	key, _ := create(t, kr, keyring.Key{})
	var wg sync.WaitGroup
	results := make(chan error, 50)
	for range 50 {
		wg.Go(func() {
			_, _, err := kr.Rotate(context.Background(), key.ID, keyring.AnyRevision, keyring.RotationPlan{Overlap: time.Hour}, keyring.Issue{})
			results <- err
		})
	}
	wg.Wait()
	close(results)
	won := 0
	for err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, keyring.ErrState) {
			t.Errorf("loser got %v", err)
		}
	}
	after, err := kr.Key(context.Background(), key.ID)
	if err != nil || won != 1 || len(after.Credentials) != 2 {
		t.Fatalf("%d rotations won, %d credentials, %v", won, len(after.Credentials), err)
	}
}

func TestCredentialBounds(t *testing.T) {
	ctx := context.Background()
	kr, _ := newKeyring(t)
	key, first := create(t, kr, keyring.Key{})
	for range keyring.MaxLiveCredentials - 1 {
		if _, _, err := kr.AddCredential(ctx, key.ID, keyring.AnyRevision, keyring.Issue{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := kr.AddCredential(ctx, key.ID, keyring.AnyRevision, keyring.Issue{}); !errors.Is(err, keyring.ErrState) {
		t.Fatalf("one more than the limit: %v", err)
	}
	for range 3 * keyring.MaxCredentials {
		if _, _, err := kr.Rotate(ctx, key.ID, keyring.AnyRevision, keyring.RotationPlan{Overlap: 0}, keyring.Issue{}); err != nil {
			t.Fatal(err)
		}
	}
	after, err := kr.Key(ctx, key.ID)
	if err != nil || len(after.Credentials) > keyring.MaxCredentials {
		t.Fatalf("%d credentials, %v", len(after.Credentials), err)
	}
	seen := map[uint32]bool{}
	for _, c := range after.Credentials {
		if seen[c.N] {
			t.Fatalf("number %d given twice", c.N)
		}
		seen[c.N] = true
	}
	// The list forgot the first token; the store did not.
	found, n, err := kr.Identify(ctx, keyring.NewSecret(first))
	if err != nil || found.ID != key.ID || n != 0 {
		t.Fatalf("%v, %d, %v", found, n, err)
	}
	if _, err := kr.Import(ctx, []keyring.Import{{Key: keyring.Key{Name: "again"}, Token: keyring.NewSecret(first)}}, "ck", false); !errors.Is(err, keyring.ErrExists) {
		t.Fatalf("an ended token was imported anew: %v", err)
	}
}
