package keyring_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Durable creates, one after another, each in force before the next begins.
func BenchmarkCreate(b *testing.B) {
	kr, _ := newKeyring(b)
	for b.Loop() {
		create(b, kr, keyring.Key{Scopes: []string{"contacts:read"}})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
}

func BenchmarkVerifyToken(b *testing.B) {
	kr, _ := newKeyring(b)
	_, token := create(b, kr, keyring.Key{Scopes: []string{"contacts:read"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, verdict := kr.VerifyToken(token, "ck"); verdict != keyring.InForce {
			b.Fatal(verdict)
		}
	}
}

// A mistyped token of ours costs its checksum, not a look-up.
func BenchmarkVerifyMistyped(b *testing.B) {
	kr, _ := newKeyring(b)
	_, token := create(b, kr, keyring.Key{})
	mistyped := []byte(token)
	mistyped[10], mistyped[11] = mistyped[11], mistyped[10]
	if mistyped[10] == mistyped[11] {
		mistyped[10] = '0'
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, verdict := kr.VerifyToken(string(mistyped), "ck"); verdict != keyring.Unknown {
			b.Fatal(verdict)
		}
	}
}

// Importing 200,000 keys at once, and loading a million, until the first request
// could be answered.
func BenchmarkImportAndLoad(b *testing.B) {
	const batch, batches = 200_000, 5
	imports := make([]keyring.Import, batch)
	made := 0
	next := func() {
		for i := range imports {
			digest := keyring.DigestOf(fmt.Sprint("token ", made))
			imports[i] = keyring.Import{
				Key:    keyring.Key{Name: fmt.Sprint("customer ", made), Owner: "ops@example.com", Scopes: []string{"contacts:read"}},
				Digest: &digest,
			}
			made++
		}
	}
	path := filepath.Join(b.TempDir(), "store", "keys.db")
	kr, _ := open(b, path)
	b.Run("import-200k", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			next()
			b.StartTimer()
			if _, err := kr.Import(context.Background(), imports, "ck", false); err != nil {
				b.Fatal(err)
			}
		}
	})
	for made < batch*batches {
		next()
		if _, err := kr.Import(context.Background(), imports, "ck", false); err != nil {
			b.Fatal(err)
		}
	}
	if err := kr.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("load-1M", func(b *testing.B) {
		for b.Loop() {
			kr, _ := open(b, path)
			b.StopTimer()
			if kr.Stats().Keys != made {
				b.Fatal(kr.Stats())
			}
			if err := kr.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}
