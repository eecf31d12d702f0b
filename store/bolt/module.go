package bolt

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

func init() {
	caddy.RegisterModule(Bolt{})
}

// Bolt keeps keys in one file on this machine. It is the default store, and
// for one Caddy process only: the file is locked while it is in use.
type Bolt struct {
	// The file to keep keys in. It is created, and its directory with it,
	// when it does not exist; both are for Caddy's user only. A relative path
	// is relative to Caddy's working directory. Placeholders such as
	// `{env.API_KEYS_FILE}` are replaced when the configuration is loaded.
	// Default: `api_keys/keys.db` in Caddy's data directory.
	Path string `json:"path,omitempty"`

	// How many bytes the file may grow to; changes that need more are
	// refused. At least 1 MiB. Default: nearly 8 GiB, some ten million keys
	// (1 GiB on 32-bit systems).
	MaxSize int64 `json:"max_size,omitempty"`

	// How many bytes the record of use beside it may grow to. When it is full the
	// oldest counters go; calls that must be recorded before they are served may
	// take four fifths, and are refused beyond that. At least 1 MiB. Default:
	// 4 GiB (512 MiB on 32-bit systems).
	MaxRecordSize int64 `json:"max_record_size,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Bolt) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "api_keys.stores.bolt",
		New: func() caddy.Module { return new(Bolt) },
	}
}

// Provision resolves the path. It does not touch the file: `caddy validate`
// provisions too, while another process serves from it.
func (b *Bolt) Provision(caddy.Context) error {
	path := filepath.Join(caddy.AppDataDir(), "api_keys", "keys.db")
	if b.Path != "" {
		var err error
		if path, err = caddy.NewReplacer().ReplaceOrErr(b.Path, true, true); err != nil {
			return fmt.Errorf("path of the bolt store: %w", err)
		}
	}
	path, err := filepath.Abs(path) // cleans it too
	if err != nil {
		return fmt.Errorf("path of the bolt store: %w", err)
	}
	b.Path = path
	if b.MaxSize != 0 && b.MaxSize < minMaxSize {
		return fmt.Errorf("max_size of the bolt store is %d bytes; set at least %d (1 MiB)", b.MaxSize, minMaxSize)
	}
	if b.MaxRecordSize != 0 && b.MaxRecordSize < minMaxSize {
		return fmt.Errorf("max_record_size of the bolt store is %d bytes; set at least %d (1 MiB)", b.MaxRecordSize, minMaxSize)
	}
	return nil
}

// StoreKey returns what two configurations that mean the same store have in
// common: the file's absolute path, and nothing else, so that a reload with
// another max_size never opens the file a second time.
func (b *Bolt) StoreKey() string { return b.Path }

// MasterKeyFile returns where the master key is kept unless one is configured.
func (b *Bolt) MasterKeyFile() string { return b.Path + ".master_key" }

// NonceFile returns where the nonces that signed requests used are kept between
// two runs of the server.
func (b *Bolt) NonceFile() string { return b.Path + ".nonces" }

// QuotaFile returns where what was spent of quotas is kept.
func (b *Bolt) QuotaFile() string { return b.Path + ".quotas" }

// OpenStore opens the store; see [Open].
func (b *Bolt) OpenStore() (keyring.Store, error) {
	s, err := Open(b.Path, Options{MaxSize: b.MaxSize})
	if err != nil {
		return nil, err // not a nil *Store in an interface
	}
	return s, nil
}

// OpenLedger opens the record of use beside the store; see [OpenLedger].
func (b *Bolt) OpenLedger(keep usage.Keep) (usage.Store, error) {
	l, err := OpenLedger(b.Path+".ledger", LedgerOptions{Keep: keep, Options: Options{MaxSize: b.MaxRecordSize}})
	if err != nil {
		return nil, err // not a nil *Ledger in an interface
	}
	return l, nil
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	bolt [<path>] {
//		max_size        <size>
//		max_record_size <size>
//	}
//
// A size is a number with a unit, such as 512MiB or 4GB.
func (b *Bolt) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the store's name
	if d.NextArg() {
		b.Path = d.Val()
		if b.Path == "" {
			return d.Err("bolt: the path is empty; leave it out for the default")
		}
		if strings.HasPrefix(b.Path, "~") {
			return d.Errf("bolt: ~ is not replaced in %s: write the whole path, such as /var/lib/caddy/api_keys.db", b.Path)
		}
	}
	if d.NextArg() {
		return d.Errf("bolt: write one path, in quotes if it has spaces; %q is too much", d.Val())
	}
	for d.NextBlock(0) {
		switch option := d.Val(); option {
		case "max_size":
			if err := unmarshalSize(d, &b.MaxSize); err != nil {
				return err
			}
		case "max_record_size":
			if err := unmarshalSize(d, &b.MaxRecordSize); err != nil {
				return err
			}
		case "path":
			return d.Err("path: write it behind bolt: `store bolt <path>`")
		default:
			return d.Errf("unknown option %q of bolt; there are: max_size and max_record_size", option)
		}
	}
	return nil
}

// unmarshalSize reads the argument of an option, and sets it.
func unmarshalSize(d *caddyfile.Dispenser, bytes *int64) error {
	option := d.Val()
	if *bytes != 0 {
		return d.Errf("%s is set twice", option)
	}
	var text string
	if !d.AllArgs(&text) {
		return d.Errf("%s: write one size, such as 512MiB", option)
	}
	size, err := humanize.ParseBytes(text)
	if err != nil || size < minMaxSize || size > math.MaxInt64 {
		return d.Errf("%s %q: want a size of at least 1MiB, such as 512MiB", option, text)
	}
	*bytes = int64(size)
	return nil
}

// Interface guards.
var (
	_ caddy.Module          = (*Bolt)(nil)
	_ caddy.Provisioner     = (*Bolt)(nil)
	_ caddyfile.Unmarshaler = (*Bolt)(nil)
)
