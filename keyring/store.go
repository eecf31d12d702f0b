package keyring

import (
	"context"
	"io"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// Store keeps keys and orgs durably. Every implementation passes
// store/storetest. All methods are safe for concurrent use. Errors wrap the
// sentinels of this package. Values handed in or out are the receiver's to
// keep: neither side changes them afterwards.
type Store interface {
	// Apply commits all mutations or none, and returns only after the commit is
	// synced. Each mutation's IfRevision is checked inside the commit
	// (ErrConflict, or ErrExists for a create); a credential digest that any
	// other key holds or ever held is ErrExists; a revoked record stays revoked
	// or becomes deleted, a deleted one stays deleted (ErrState). ErrFull and
	// ErrUnavailable mean that nothing was changed; ErrUncertain that it is not
	// known.
	//
	// The entries that tell of it are appended to the trail in the same commit,
	// one behind the other. Mutations without an entry are refused; entries
	// without a mutation tell of something that changes no record.
	Apply(ctx context.Context, mutations []Mutation, entries []audit.Draft) (Cursor, error)

	// Snapshot calls fn with every record of one consistent image, orgs first,
	// keys ascending by id, deleted keys included, and returns the cursor of
	// that image. A record that fails its own checksum is passed with Damaged
	// set and only the id that is known. An error of fn ends it.
	Snapshot(ctx context.Context, fn func(Record) error) (Cursor, error)

	// Watch calls fn with every change after from, in commit order and without
	// a gap, until ctx ends (it returns ctx's error), the store closes
	// (ErrClosed), or fn fails. ErrForked and ErrBehind say that from cannot be
	// resumed. fn gets a batch without records at once, and whenever the store
	// has proved that nothing is newer. fn must not call Apply.
	Watch(ctx context.Context, from Cursor, fn func(Batch) error) error

	// Key returns the key with this id, a deleted one too. ErrNotFound.
	Key(ctx context.Context, id string) (*Key, error)
	// KeyByDigest returns the key that holds, or ever held, the credential
	// with this digest. ErrNotFound.
	KeyByDigest(ctx context.Context, digest [32]byte) (*Key, error)
	// Org returns the org of this name. ErrNotFound.
	Org(ctx context.Context, name string) (*Org, error)

	// Keys calls fn with keys in ascending order of id, from the first id
	// greater than after, until fn returns false. It holds no lock while fn
	// runs, so a long walk is not one consistent image.
	Keys(ctx context.Context, after string, fn func(*Key) bool) error
	// Orgs is Keys for orgs, by name.
	Orgs(ctx context.Context, after string, fn func(*Org) bool) error

	// The trail of management actions.
	audit.Trail

	// Backup writes one consistent copy of the store to w. w may be slow: no
	// lock of the store is held while it is written.
	Backup(ctx context.Context, w io.Writer) error

	// Close waits for running calls and releases everything. Later calls fail
	// with ErrClosed.
	Close() error
}

// Mutation puts one record. Exactly one of Key and Org is set; its Revision is
// IfRevision+1.
type Mutation struct {
	Key        *Key
	Org        *Org
	IfRevision uint64 // the stored revision it replaces; 0: it must not exist
}

// Record is one stored key or org. Exactly one of Key and Org is set, unless
// Damaged is.
type Record struct {
	Key *Key
	Org *Org

	// Damaged says why a record cannot be trusted; ID is its key in the store.
	Damaged error
	ID      string
}

// Batch is the records that one commit left behind, in any order.
type Batch struct {
	Cursor  Cursor
	Records []Record
}

// Cursor names one commit: its number, and a random mark by which a store that
// was rolled back and went another way is told from the one that was seen.
type Cursor struct {
	Revision uint64
	Mark     [8]byte
}
