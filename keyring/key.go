package keyring

import (
	"net/netip"
	"slices"
	"time"

	"github.com/caddy-apikey/caddy-apikey/limit"
)

// State is where a key or an org stands in its life.
//
// active ⇄ suspended → revoked → deleted. Revoked is final: a revoked key is
// never let in again, whatever is changed about it; deleted is its tombstone,
// kept so that neither its id nor its tokens can be used anew.
type State string

// The states of a key. An org is only ever active or suspended.
const (
	StateActive    State = "active"
	StateSuspended State = "suspended"
	StateRevoked   State = "revoked"
	StateDeleted   State = "deleted"
)

// Final reports whether s can never lead back to active.
func (s State) Final() bool { return s == StateRevoked || s == StateDeleted }

// Kind is how a credential proves its key.
type Kind string

// The kinds of credential.
const (
	KindToken        Kind = "token"         // sent as it is; only its SHA-256 is kept
	KindSharedSecret Kind = "shared_secret" // signs requests; kept sealed
	KindPublicKey    Kind = "public_key"    // verifies signed requests; nothing secret is kept
)

// Signs reports whether credentials of this kind sign requests.
func (k Kind) Signs() bool { return k == KindSharedSecret || k == KindPublicKey }

// Signing says whether a key may, or must, sign its requests.
type Signing string

// The signing modes of a key. A key that requires signing is never let in by a
// bare token, one whose signing is off never by a signature.
const (
	SigningOff      Signing = "off"
	SigningOptional Signing = "optional"
	SigningRequired Signing = "required"
)

// Key is an identity that may call the API. The zero time means "no limit" in
// NotBefore and ExpiresAt. All times are UTC with millisecond precision.
type Key struct {
	ID      string // "key_" and 20 characters; public, sortable by creation time
	Name    string
	Org     string // name of the org it belongs to, "" for none
	Owner   string
	Purpose string
	Tier    string
	State   State

	Scopes []string // granted scopes, see Grant
	Roles  []string // roles, resolved by the running configuration

	Allow   []netip.Prefix // client addresses let in; empty: any
	Deny    []netip.Prefix // client addresses refused, before Allow
	Origins []string       // set for a browser key: the only Origins it is accepted from

	Limits []limit.Limit // how much it may spend; those of its tier hold for other spans

	ClientCerts []Fingerprint // set: the only client certificates it is accepted with

	Signing  Signing
	Tags     []string
	Metadata map[string]string

	NotBefore time.Time
	ExpiresAt time.Time
	CreatedAt time.Time
	UpdatedAt time.Time

	// Revision grows by one with each change; it is the key's ETag.
	Revision uint64

	Credentials []Credential // ascending by N; ended ones stay, bounded by MaxCredentials
	Rotation    *Rotation    // the pending rotation, nil for none
}

// Credential is one way in which a caller proves to be a key.
type Credential struct {
	N      uint32 // 1, 2, … within its key; never used again
	Kind   Kind
	Hint   string   // what tells it from others: the first characters of a made token or secret, the fingerprint of a public key
	Digest [32]byte // SHA-256 of the token or shared secret; zero for other kinds

	Sealed    []byte // the shared secret, see Sealer
	PublicKey []byte // the public key, as PKIX in DER

	CreatedAt time.Time
	ExpiresAt time.Time // zero: as long as the key
	EndedAt   time.Time // set when it was ended by hand; never comes back
}

// Rotation is a rotation whose overlap has not been closed: the new credential
// and the old ones, with the expiry each would have had without the rotation,
// so that it can be cancelled.
type Rotation struct {
	StartedAt time.Time
	EndsAt    time.Time
	New       uint32
	Old       []RetiringCredential

	// EndWhenIdle ends the old credentials before EndsAt, once they were not
	// used for so long; 0: never.
	EndWhenIdle time.Duration
}

// RetiringCredential is a credential on its way out.
type RetiringCredential struct {
	N              uint32
	ExpiresWithout time.Time // its ExpiresAt before the rotation; zero for none
}

// Org is a customer that keys belong to. Its lists and state bind all of its
// keys, besides their own.
type Org struct {
	Name      string
	Title     string // display name
	State     State
	Tier      string // for keys that have no tier of their own
	Allow     []netip.Prefix
	Deny      []netip.Prefix
	Limits    []limit.Limit // how much its keys may spend together
	Metadata  map[string]string
	CreatedAt time.Time
	UpdatedAt time.Time
	Revision  uint64
}

// Live reports whether c could be accepted at now, its key's own state aside.
func (c *Credential) Live(now time.Time) bool {
	return c.EndedAt.IsZero() && (c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt))
}

// Retires reports whether the credential n is on its way out: it is an old one of
// the last rotation.
func (k *Key) Retires(n uint32) bool {
	return k.Rotation != nil && slices.ContainsFunc(k.Rotation.Old, func(old RetiringCredential) bool { return old.N == n })
}

// Credential returns the credential n of k, or nil.
func (k *Key) Credential(n uint32) *Credential {
	for i := range k.Credentials {
		if k.Credentials[i].N == n {
			return &k.Credentials[i]
		}
	}
	return nil
}

// material returns what verifies the signatures of a credential, nil if it
// makes none or can make none any more.
func (c *Credential) material() []byte {
	switch {
	case !c.EndedAt.IsZero():
		return nil
	case c.Kind == KindSharedSecret:
		return c.Sealed
	case c.Kind == KindPublicKey:
		return c.PublicKey
	}
	return nil
}
