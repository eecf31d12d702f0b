package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		exitOn(play(role))
		return
	}
	os.Exit(m.Run())
}

// One short round: every server answers as the table says it does.
func TestRun(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "table"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	o := options{rounds: 1, slice: 10 * time.Millisecond, conns: 2, keys: 100, only: regexp.MustCompile("")}
	if err := run(t.Context(), o, out); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range variants(1) {
		if !strings.Contains(string(table), p.name) {
			t.Errorf("no line about %s in\n%s", p.name, table)
		}
	}
	for _, r := range allRaces() {
		if !strings.Contains(string(table), r.name) {
			t.Errorf("no line about %s in\n%s", r.name, table)
		}
	}
}

func TestTokenOf(t *testing.T) {
	for i := range 1000 {
		if token := tokenOf(i); !keyring.IsToken(token, keyring.DefaultTokenPrefix) {
			t.Fatal(token)
		}
	}
}

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		values  []float64
		q, want float64
	}{{[]float64{3}, 0.5, 3}, {[]float64{4, 1, 2}, 0.5, 2}, {[]float64{4, 1}, 0.25, 1.75}} {
		if got := quantile(c.values, c.q); got != c.want {
			t.Errorf("%v-quantile of %v: %v, want %v", c.q, c.values, got, c.want)
		}
	}
}
