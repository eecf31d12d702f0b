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

// Importing, and loading what was imported; in thousands of keys.
func BenchmarkImportAndLoad(b *testing.B) {
	for _, n := range []int{10_000, 200_000} {
		imports := make([]keyring.Import, n)
		for i := range imports {
			digest := keyring.DigestOf(fmt.Sprint("token ", i))
			imports[i] = keyring.Import{
				Key:    keyring.Key{Name: fmt.Sprint("customer ", i), Owner: "ops@example.com", Scopes: []string{"contacts:read"}},
				Digest: &digest,
			}
		}
		path, files := filepath.Join(b.TempDir(), "store", "keys.db"), 0
		b.Run(fmt.Sprintf("import-%dk", n/1000), func(b *testing.B) {
			for b.Loop() {
				files++
				kr, _ := open(b, fmt.Sprint(path, files))
				if _, err := kr.Import(context.Background(), imports, "ck", false); err != nil {
					b.Fatal(err)
				}
				if err := kr.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("load-%dk", n/1000), func(b *testing.B) {
			for b.Loop() {
				kr, _ := open(b, path+"1")
				if kr.Stats().Keys != n {
					b.Fatal(kr.Stats())
				}
				b.StopTimer()
				if err := kr.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
