package hmacsig

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestNodeClient(t *testing.T) {
	dir := installNodeClient(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private := func(key crypto.Signer) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	public := func(key crypto.Signer) Key {
		k, err := PublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, c := range []struct {
		alg, key string
		verify   Key
	}{
		{algHMAC, string(messageSecret), secretKey(t, messageSecret)},
		{algEd, private(ed), public(ed)},
		{algECDSA, private(ec), public(ec)},
	} {
		t.Run(c.alg, func(t *testing.T) {
			url := messageServer(t, c.verify, false).URL
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			node := exec.CommandContext(ctx, "node", "client.js")
			node.Dir = dir
			node.Stdin = bytes.NewReader(mustJSON(t, map[string]string{"url": url, "alg": c.alg, "key": c.key}))
			var stderr bytes.Buffer
			node.Stderr = &stderr
			out, err := node.Output()
			if err != nil {
				t.Fatalf("node: %v\n%s", err, stderr.Bytes())
			}
			var got map[string]int
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			want := map[string]int{
				"tampered body": 409, "dropped body": 409, "another path": 401, "another query": 401, "another method": 401,
				"another host": 401, "another field": 401, "added body": 403, "the defaults have no nonce": 403,
				"old": 410, "expired": 410, "no signature": 400,
			}
			accepted := 0
			for name, status := range got {
				expected, refused := want[name]
				if !refused {
					expected = http.StatusOK
					accepted++
				}
				if status != expected {
					t.Errorf("%s: %d, want %d", name, status, expected)
				}
			}
			if len(got)-accepted != len(want) || accepted != 9 {
				t.Errorf("%d requests, %d of them accepted", len(got), accepted)
			}
		})
	}
}

// installNodeClient installs what the lock file names into a directory of its own.
func installNodeClient(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("installing from npm takes seconds")
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: the Node client is not tried", tool)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "node-message"))); err != nil {
		t.Fatal(err)
	}
	npmInstall(t, dir)
	return dir
}
