//go:build unix

package bolt_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-apikey/caddy-apikey/store/bolt"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

func TestUnmarshalCaddyfile(t *testing.T) {
	for _, test := range []struct {
		input string
		want  string // JSON, or part of the error after "error: "
	}{
		{"bolt", `{}`},
		{"bolt /data/keys.db", `{"path":"/data/keys.db"}`},
		{"bolt {env.KEYS}/keys.db {\n max_size 512MiB\n}", `{"path":"{env.KEYS}/keys.db","max_size":536870912}`},
		{"bolt {\n max_size 1GB\n max_record_size 64GiB\n}", `{"max_size":1000000000,"max_record_size":68719476736}`},
		{"bolt {\n max_record_size 10KB\n}", `error: max_record_size "10KB": want a size of at least 1MiB`},
		{"bolt {\n max_record_size 1GB\n max_record_size 2GB\n}", "error: max_record_size is set twice"},
		{"bolt {\n max_size 4GB\n}", `{"max_size":4000000000}`},
		{"bolt a b", `error: write one path, in quotes if it has spaces; "b" is too much`},
		{"bolt ~/keys.db", "error: ~ is not replaced in ~/keys.db: write the whole path"},
		{"bolt {\n path /a\n}", "error: path: write it behind bolt"},
		{`bolt ""`, "error: the path is empty"},
		{"bolt {\n max_size\n}", "error: max_size: write one size, such as 512MiB"},
		{"bolt {\n max_size 1 GB\n}", "error: max_size: write one size, such as 512MiB"},
		{"bolt {\n max_size much\n}", `error: max_size "much": want a size of at least 1MiB`},
		{"bolt {\n max_size 10KB\n}", `error: max_size "10KB": want a size of at least 1MiB`},
		{"bolt {\n max_size 20EB\n}", `error: max_size "20EB": want a size`},
		{"bolt {\n max_size 1GB\n max_size 2GB\n}", "error: max_size is set twice"},
		{"bolt {\n mode 0644\n}", `error: unknown option "mode" of bolt; there are: max_size and max_record_size`},
	} {
		var b bolt.Bolt
		err := b.UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.input))
		if want, ok := strings.CutPrefix(test.want, "error: "); ok {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %q", test.input, err, want)
			}
			continue
		}
		got, _ := json.Marshal(b)
		if err != nil || string(got) != test.want {
			t.Errorf("%q: %s, %v; want %s", test.input, got, err, test.want)
		}
	}
}

func TestProvision(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("API_KEYS_TEST_DIR", dir)
	t.Setenv("XDG_DATA_HOME", dir)
	wd, err := os.Getwd()
	must(t, err)
	for _, test := range []struct {
		given bolt.Bolt
		want  string
	}{
		{bolt.Bolt{}, filepath.Join(caddy.AppDataDir(), "api_keys", "keys.db")},
		{bolt.Bolt{Path: "{env.API_KEYS_TEST_DIR}/../x//keys.db"}, filepath.Join(filepath.Dir(dir), "x", "keys.db")},
		{bolt.Bolt{Path: "keys.db"}, filepath.Join(wd, "keys.db")},
		{bolt.Bolt{Path: "{env.API_KEYS_TEST_UNSET}"}, ""},
		{bolt.Bolt{Path: "{http.request.host}"}, ""},
		{bolt.Bolt{MaxSize: 5}, ""},
		{bolt.Bolt{MaxRecordSize: 5}, ""},
	} {
		b := test.given
		err := b.Provision(caddy.Context{})
		if (err != nil) != (test.want == "") {
			t.Errorf("%+v: %v", test.given, err)
		} else if err == nil && b.StoreKey() != test.want {
			t.Errorf("%+v: %s, want %s", test.given, b.StoreKey(), test.want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Error("Provision touched the disk")
	}
}

func TestOpenStore(t *testing.T) {
	b := bolt.Bolt{Path: newPath(t)}
	must(t, b.Provision(caddy.Context{}))
	s, err := b.OpenStore()
	must(t, err)
	must(t, s.Close())
	b.MaxRecordSize = 8 << 20
	record, err := b.OpenLedger(usage.Keep{})
	must(t, err)
	if _, most := record.(*bolt.Ledger).Room(); most != 8<<20 {
		t.Errorf("the record may have %d bytes", most)
	}
	must(t, record.Close())
	b.Path = filepath.Dir(b.Path)
	if s, err := b.OpenStore(); err == nil || s != nil {
		t.Errorf("%v, %v", s, err)
	}
	info, err := caddy.GetModule("api_keys.stores.bolt")
	must(t, err)
	if _, ok := info.New().(*bolt.Bolt); !ok {
		t.Errorf("the registered module is a %T", info.New())
	}
}
