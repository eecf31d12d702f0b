// Package storetest is the conformance suite of keyring.Store (Suite) and of
// usage.Store (RunUsage): what the comments of the interfaces promise, as tests.
// Every store passes it.
package storetest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Suite says how to get at the store under test.
type Suite struct {
	// Open returns a new, empty store. The suite closes it.
	Open func(t *testing.T) keyring.Store

	// Reopen opens a second store on the data of one that was closed. Nil
	// where that cannot be done; what depends on it is skipped then.
	Reopen func(t *testing.T, closed keyring.Store) keyring.Store

	// Restore opens a store on what Backup wrote. Nil where a backup is
	// restored by other means.
	Restore func(t *testing.T, backup io.Reader) keyring.Store
}

// patience bounds every wait of the suite; nothing waits that long in a store
// that works.
const patience = 10 * time.Second

// Run runs the whole suite as subtests of t.
func (s Suite) Run(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s Suite)
	}{
		{"Apply/create and read back", applyCreate},
		{"Apply/nothing", applyNothing},
		{"Apply/every field", applyEveryField},
		{"Apply/revision", applyRevision},
		{"Apply/malformed", applyMalformed},
		{"Apply/all or nothing", applyAllOrNothing},
		{"Apply/later mutations see earlier ones", applyInOrder},
		{"Apply/states", applyStates},
		{"Apply/credentials are unique for ever", applyDigests},
		{"Apply/a key may keep, add and drop credentials", applyOwnDigests},
		{"Apply/concurrent writers of one record", applyRace},
		{"Apply/concurrent creates of one credential", applyDigestRace},
		{"Apply/concurrent writers of different records", applyMany},
		{"Apply/cancelled", applyCancelled},
		{"Apply/input is not kept", applyAliasing},
		{"Trail/entries of changes", trailApply},
		{"Trail/entries without a change", trailAlone},
		{"Trail/search", trailSearch},
		{"Trail/concurrent calls", trailTogether},
		{"Trail/purge and erase", trailKeep},
		{"Snapshot/order and cursor", snapshotOrder},
		{"Snapshot/ends with the function's error", snapshotError},
		{"Snapshot/cancelled", snapshotCancelled},
		{"Snapshot and Watch/without a gap", snapshotWatch},
		{"Watch/first batch", watchFirst},
		{"Watch/several watchers", watchSeveral},
		{"Watch/from an earlier cursor", watchEarlier},
		{"Watch/forked", watchForked},
		{"Watch/behind", watchBehind},
		{"Watch/ends", watchEnds},
		{"Key/not found", notFound},
		{"Key/by credential", keyByDigest},
		{"Keys/walk", keysWalk},
		{"Orgs/walk", orgsWalk},
		{"Keys/function may use the store", keysReentrant},
		{"Values/belong to the caller", values},
		{"Backup/restore", backup},
		{"Backup/slow reader", backupSlow},
		{"Close/later calls", closeLater},
		{"Close/running calls", closeRunning},
		{"Reopen/everything is there", reopen},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// open opens a store that is closed with the test.
func (s Suite) open(t *testing.T) keyring.Store {
	t.Helper()
	store := s.Open(t)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func apply(t *testing.T, s keyring.Store, mutations ...keyring.Mutation) keyring.Cursor {
	t.Helper()
	cursor, err := s.Apply(t.Context(), mutations, told(mutations))
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return cursor
}

// refuse checks that Apply fails with want and changes nothing.
func refuse(t *testing.T, s keyring.Store, want error, mutations ...keyring.Mutation) {
	t.Helper()
	before, cursor := image(t, s)
	_, err := s.Apply(t.Context(), mutations, told(mutations))
	if !errors.Is(err, want) {
		t.Fatalf("Apply: %v, want %v", err, want)
	}
	after, same := image(t, s)
	if cursor != same {
		t.Errorf("a refused Apply moved the cursor from %v to %v", cursor, same)
	}
	sameImage(t, after, before)
}

// image is a whole snapshot, keys by id and orgs by name.
func image(t *testing.T, s keyring.Store) (map[string]keyring.Record, keyring.Cursor) {
	t.Helper()
	all := make(map[string]keyring.Record)
	cursor, err := s.Snapshot(t.Context(), func(r keyring.Record) error {
		all[name(t, r)] = r
		return nil
	})
	if err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	return all, cursor
}

// name tells a key from an org of the same name.
func name(t *testing.T, r keyring.Record) string {
	t.Helper()
	switch {
	case r.Damaged != nil:
		t.Fatalf("damaged record %q: %v", r.ID, r.Damaged)
	case r.Key != nil && r.Org == nil:
		return "key " + r.Key.ID
	case r.Org != nil && r.Key == nil:
		return "org " + r.Org.Name
	}
	t.Fatalf("record with neither or both of key and org: %+v", r)
	return ""
}

// watcher runs Watch and passes on its batches.
type watcher struct {
	batches chan keyring.Batch
	ended   chan error
	stop    context.CancelFunc
}

func watch(t *testing.T, s keyring.Store, from keyring.Cursor) *watcher {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &watcher{batches: make(chan keyring.Batch, 4096), ended: make(chan error, 1), stop: stop}
	go func() {
		w.ended <- s.Watch(ctx, from, func(b keyring.Batch) error {
			select {
			case w.batches <- b:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(stop)
	return w
}

// next returns the next batch; full skips those without records.
func (w *watcher) next(t *testing.T, full bool) keyring.Batch {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case b := <-w.batches:
			if !full || len(b.Records) > 0 {
				return b
			}
		case err := <-w.ended:
			t.Fatalf("Watch ended: %v", err)
		case <-timeout:
			t.Fatal("no batch came")
		}
	}
}

func (w *watcher) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(patience):
		t.Fatal("Watch did not end")
		return nil
	}
}

// within fails the test where fn does not return soon.
func within(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s did not return", what)
	}
}
