package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func backup(t *testing.T, suite Suite) {
	s := suite.open(t)
	apply(t, s, createKey(FullKey(1)), createOrg(FullOrg("acme")))
	want, cursor := image(t, s)
	var copied bytes.Buffer
	if err := s.Backup(t.Context(), &copied); err != nil {
		t.Fatal(err)
	}
	apply(t, s, createKey(Key(2)))
	broken := errors.New("broken pipe")
	if err := s.Backup(t.Context(), failingWriter{broken}); !errors.Is(err, broken) {
		t.Errorf("failing writer: %v", err)
	}
	if suite.Restore == nil {
		t.Skip("this store is restored by other means")
	}
	restored := suite.Restore(t, &copied)
	t.Cleanup(func() { _ = restored.Close() })
	got, at := image(t, restored)
	sameImage(t, got, want)
	if at != cursor {
		t.Errorf("restored at %v, want %v", at, cursor)
	}
	// The restored store goes another way, which a follower notices.
	apply(t, s, createKey(Key(3)))
	ahead := apply(t, s, createKey(Key(4)))
	apply(t, restored, createKey(Key(5)))
	if err := restored.Watch(t.Context(), ahead, nil); !errors.Is(err, keyring.ErrForked) {
		t.Errorf("a rolled-back store: %v, want ErrForked", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// backupSlow writes and reads while somebody reads a backup slowly.
func backupSlow(t *testing.T, suite Suite) {
	s := suite.open(t)
	apply(t, s, createKey(Key(1)))
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.Backup(t.Context(), w) }()
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	within(t, "Apply during a backup", func() {
		for i := range 20 {
			apply(t, s, createKey(Key(100+i)))
		}
	})
	_ = r.CloseWithError(errors.New("gone"))
	if err := <-done; err == nil {
		t.Error("a backup that nobody read succeeded")
	}
}

func closeLater(t *testing.T, suite Suite) {
	s := suite.open(t)
	_, at := image(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	ctx := t.Context()
	_, applied := s.Apply(ctx, []keyring.Mutation{createKey(Key(1))}, Told())
	_, snapshot := s.Snapshot(ctx, func(keyring.Record) error { return nil })
	_, key := s.Key(ctx, Key(1).ID)
	_, byDigest := s.KeyByDigest(ctx, Digest("x"))
	_, org := s.Org(ctx, "acme")
	for what, err := range map[string]error{
		"Apply": applied, "Snapshot": snapshot, "Key": key, "KeyByDigest": byDigest, "Org": org,
		"Watch":  s.Watch(ctx, at, func(keyring.Batch) error { return nil }),
		"Keys":   s.Keys(ctx, "", func(*keyring.Key) bool { return true }),
		"Orgs":   s.Orgs(ctx, "", func(*keyring.Org) bool { return true }),
		"Backup": s.Backup(ctx, io.Discard),
	} {
		if !errors.Is(err, keyring.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
}

// closeRunning closes a store in the middle of everything: what was
// acknowledged is there afterwards, and every call ends.
func closeRunning(t *testing.T, suite Suite) {
	s := suite.open(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	acknowledged := make(map[string]keyring.Record)
	warm := make(chan struct{}, 1024)
	for w := range 4 {
		all.Go(func() {
			for i := 0; ; i++ {
				k := Key(w*1_000_000 + i)
				if _, err := s.Apply(context.Background(), []keyring.Mutation{createKey(k)}, Told()); err != nil {
					if !errors.Is(err, keyring.ErrClosed) {
						t.Errorf("Apply: %v", err)
					}
					return
				}
				mu.Lock()
				acknowledged["key "+k.ID] = keyring.Record{Key: k}
				mu.Unlock()
				select {
				case warm <- struct{}{}:
				default:
				}
			}
		})
	}
	all.Go(func() {
		for {
			err := s.Keys(context.Background(), "", func(*keyring.Key) bool { return true })
			if err == nil {
				_, err = s.Snapshot(context.Background(), func(keyring.Record) error { return nil })
			}
			if err != nil {
				if !errors.Is(err, keyring.ErrClosed) {
					t.Errorf("reading: %v", err)
				}
				return
			}
		}
	})
	for range 20 {
		<-warm
	}
	within(t, "Close", func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	within(t, "a call that was running", all.Wait)
	if suite.Reopen == nil {
		return
	}
	again := suite.Reopen(t, s)
	t.Cleanup(func() { _ = again.Close() })
	got, _ := image(t, again)
	for id, r := range acknowledged {
		if _, ok := got[id]; !ok {
			t.Errorf("%s was acknowledged and is gone", id)
			continue
		}
		same(t, id, got[id], r)
	}
}

func reopen(t *testing.T, suite Suite) {
	if suite.Reopen == nil {
		t.Skip("no second store on the same data")
	}
	s := suite.open(t)
	apply(t, s, createKey(FullKey(1)), createOrg(FullOrg("acme")))
	for i := range 10 {
		apply(t, s, createKey(Key(10+i)))
	}
	want, cursor := image(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := suite.Reopen(t, s)
	t.Cleanup(func() { _ = again.Close() })
	got, at := image(t, again)
	sameImage(t, got, want)
	if at != cursor {
		t.Errorf("cursor %v, was %v", at, cursor)
	}
	w := watch(t, again, at)
	if b := w.next(t, false); b.Cursor != cursor {
		t.Errorf("first batch at %v", b.Cursor)
	}
	thief := Key(99)
	thief.Credentials[0].Digest = Digest(Key(1).ID)
	refuse(t, again, keyring.ErrExists, createKey(thief))
	next := apply(t, again, createKey(Key(100)))
	if next.Revision <= cursor.Revision || next.Mark == cursor.Mark {
		t.Errorf("cursor went from %v to %v", cursor, next)
	}
	if b := w.next(t, true); b.Cursor != next {
		t.Errorf("batch at %v, want %v", b.Cursor, next)
	}
}
