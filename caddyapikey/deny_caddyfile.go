package caddyapikey

import (
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-apikey/caddy-apikey/denylist"
)

// unmarshalDeny reads one line deny, of the handler or of the app, and adds it to
// those before.
func unmarshalDeny(d *caddyfile.Dispenser, deny **Deny) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Err("deny: write addresses, ranges or files, such as `deny 203.0.113.0/24 /etc/caddy/drop.txt`")
	}
	if *deny == nil {
		*deny = new(Deny)
	}
	first := len((*deny).Files)
	for _, arg := range args {
		if isDenyFile(arg) {
			(*deny).Files = append((*deny).Files, DenyFile{Path: arg})
			continue
		}
		if _, err := denylist.ParseEntry(arg); err != nil {
			return d.Errf("deny: %v; a file is written with its directory, such as /etc/caddy/drop.txt or ./drop.txt", err)
		}
		(*deny).Ranges = append((*deny).Ranges, arg)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "may_shrink" {
			return d.Errf("deny: unknown option %q: write may_shrink", d.Val())
		}
		if d.NextArg() {
			return d.Errf("deny: may_shrink takes no argument, but got %q: write it alone", d.Val())
		}
		if len((*deny).Files) == first {
			return d.Err("deny: may_shrink is about files, and the line has none")
		}
		for i := first; i < len((*deny).Files); i++ {
			(*deny).Files[i].MayShrink = true
		}
	}
	return nil
}

// isDenyFile tells a file from an address: a mistyped address must not be taken
// for a file.
func isDenyFile(arg string) bool {
	return filepath.IsAbs(arg) || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") || strings.HasPrefix(arg, "{")
}
