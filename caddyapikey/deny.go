package caddyapikey

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/denylist"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Deny names client addresses that are refused.
type Deny struct {
	// Addresses and CIDR ranges.
	Ranges []string `json:"ranges,omitempty"`

	// Files with addresses and CIDR ranges. They are read anew when they
	// change, without a reload.
	Files []DenyFile `json:"files,omitempty"`
}

// DenyFile is a deny list in a file.
type DenyFile struct {
	// The file. A relative path is relative to Caddy's working directory.
	// Placeholders such as `{env.DENY_LIST}` are replaced when the
	// configuration is loaded.
	Path string `json:"path"`

	// Take a list that is empty, or less than half of the one in force, for a
	// list that has become shorter. Default: such a file is taken for one that
	// was cut off, and does not replace the list in force.
	MayShrink bool `json:"may_shrink,omitempty"`
}

// maxDenyFiles bounds the files of a handler, or of the app: each is searched
// with each request.
const maxDenyFiles = 16

// denied is a compiled Deny.
type denied struct {
	ranges *denylist.Set
	files  []*denyFile
}

// compileDeny checks a Deny and opens its files; nil for none. A file that cannot
// be read, or not whole, refuses the configuration: whoever it should keep out
// would be let in.
func (a *App) compileDeny(deny *Deny) (*denied, error) {
	if deny == nil {
		return nil, nil
	}
	if len(deny.Files) > maxDenyFiles {
		return nil, fmt.Errorf("deny: %d files, at most %d are possible; join some", len(deny.Files), maxDenyFiles)
	}
	ranges, err := keyring.ParseAddrs("deny", deny.Ranges)
	if err != nil {
		return nil, err
	}
	for _, p := range ranges {
		if p.Bits() == 0 {
			return nil, fmt.Errorf("deny: %s would deny everyone", p)
		}
	}
	c := &denied{ranges: denylist.NewSet(ranges)}
	for _, f := range deny.Files {
		path, err := caddy.NewReplacer().ReplaceOrErr(f.Path, true, true)
		if err == nil && path == "" {
			err = fmt.Errorf("%q is no path", f.Path)
		}
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return nil, fmt.Errorf("deny: %v", err)
		}
		file, err := a.openDenyFile(path, f.MayShrink)
		if err != nil {
			return nil, fmt.Errorf("deny: %w", err)
		}
		c.files = append(c.files, file)
	}
	return c, nil
}

func (h *Handler) provisionDeny() error {
	own, err := h.app.compileDeny(h.Deny)
	for _, c := range []*denied{h.app.denied, own} {
		if c != nil {
			h.denied = append(h.denied, c)
		}
	}
	return err
}

// denies reports whether the client's address is denied. An address that is not
// known may be any: a client of a trusted proxy could make its own unknown by
// what it writes into the proxy's header.
func (h *Handler) denies(r *http.Request, d *decision) bool {
	if len(h.denied) == 0 {
		return false
	}
	addr := d.client(r)
	if !addr.IsValid() {
		d.why = unknownAddress
		return true
	}
	for _, c := range h.denied {
		if c.ranges.Contains(addr) {
			d.why, d.denied = deniedAddress, "range"
			return true
		}
		for _, f := range c.files {
			if f.Contains(addr) {
				d.why, d.denied = deniedAddress, f.Path()
				return true
			}
		}
	}
	return false
}

// faultDeny is a reason of Fault: a deny list is not what its file says.
const faultDeny = "deny_list_stale"

// denyFaults returns what is wrong with the deny lists of the configuration.
func (a *App) denyFaults() (faults []keyring.Fault) {
	told := make(map[string]bool)
	for _, use := range a.denyFiles {
		s := use.file.Status()
		if s.Fault == nil || told[use.file.Path()] {
			continue
		}
		told[use.file.Path()] = true
		faults = append(faults, keyring.Fault{Reason: faultDeny, Detail: fmt.Sprintf(
			"%v. The list of %s stays in force, with %d entries", s.Fault, s.LoadedAt.UTC().Format(timeOfList), s.Entries)})
	}
	return faults
}

// timeOfList is how the time of a list is told.
const timeOfList = "2006-01-02T15:04:05Z"

// Faults returns what is wrong beside the keys.
func (a *App) Faults() []keyring.Fault {
	return slices.Concat(a.useFaults(), a.limitFaults(), a.denyFaults(), a.tierFaults())
}
