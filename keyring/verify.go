package keyring

import (
	"net/netip"
	"slices"
	"time"
)

// Verdict is what the keyring says of a credential.
type Verdict uint8

// The verdicts. Unknown covers everything that did not prove to be a key; all
// later ones are about a caller who did prove it, so that they may be told why.
const (
	Unknown      Verdict = iota // no such token: mistyped, never issued, or deleted
	InForce                     // proven, and the key may be used now
	NotYetValid                 // before the key's not_before
	Expired                     // at or after the expiry of key or credential
	Ended                       // the credential was ended by hand
	Suspended                   // the key is suspended
	Revoked                     // the key is revoked
	OrgSuspended                // the key's org is suspended, or missing
	MustSign                    // the key is only accepted on signed requests
	MustNotSign                 // the key is not accepted on signed requests
)

// Proven is a key whose credential was proven in a request. Only the keyring
// makes one; the zero Proven is nobody. It shows the key as it was at that
// moment, whatever happens later. Its methods do not change it.
type Proven struct{ e entry }

// VerifyToken decides about a token that a caller sent. It reads memory only,
// and does not allocate. prefix is what made tokens begin with: a token of that
// form is looked up only if its checksum is right.
func (k *Keyring) VerifyToken(token, prefix string) (Proven, Verdict) {
	if token == "" || len(token) > MaxTokenLen || isBroken(token, prefix) {
		return Proven{}, Unknown
	}
	digest := DigestOf(token)
	e, ok := k.index.Load().snapshot().byDigest(&digest)
	if !ok || e.kind() != KindToken && e.kind() != KindSharedSecret {
		return Proven{}, Unknown
	}
	var now int64 // asking for the time costs as much as the look-up
	if e.expiresAt() != 0 || e.notBefore() != 0 {
		now = k.clock.unixMilli()
	}
	verdict := e.verdict(now)
	if verdict == InForce && e.kind() == KindSharedSecret {
		verdict = MustSign // it was sent instead of used
	}
	return Proven{e}, verdict
}

// verdict judges a proven credential at a time in Unix milliseconds. What
// cannot be undone is told first.
func (e entry) verdict(now int64) Verdict {
	profile := e.profile()
	switch state := e.state(); {
	case state.Final():
		return Revoked
	case e.ended():
		return Ended
	case e.expiresAt() != 0 && now >= e.expiresAt():
		return Expired
	case state != StateActive:
		return Suspended
	case profile.orgName != "" && (e.org() == nil || e.org().state != StateActive):
		return OrgSuspended
	case now < e.notBefore():
		return NotYetValid
	case profile.signing == SigningRequired:
		return MustSign
	}
	return InForce
}

// IsZero reports whether p is nobody.
func (p Proven) IsZero() bool { return p.e.isZero() }

// ID returns the key's id.
func (p Proven) ID() string { return p.e.keyID() }

// AppendID appends the key's id, without allocation if there is room.
func (p Proven) AppendID(dst []byte) []byte { return p.e.key().cold().appendID(dst) }

// Name returns the key's name.
func (p Proven) Name() string { return p.e.name() }

// Owner returns the key's owner.
func (p Proven) Owner() string { return p.e.owner() }

// Org returns the name of the key's org, "" for none.
func (p Proven) Org() string { return p.e.profile().orgName }

// Tier returns the key's tier, or its org's when the key has none.
func (p Proven) Tier() string {
	if tier := p.e.profile().tier; tier != "" {
		return tier
	}
	if org := p.e.org(); org != nil {
		return org.tier
	}
	return ""
}

// Credential returns the number of the credential that was proven.
func (p Proven) Credential() uint32 { return p.e.credential() }

// EndsAt returns when the credential that was proven ends, with its key or by
// itself; the zero time for never.
func (p Proven) EndsAt() time.Time {
	if p.e.expiresAt() == 0 {
		return time.Time{}
	}
	return time.UnixMilli(p.e.expiresAt()).UTC()
}

// RetiringSince returns when a rotation began whose old credential was proven;
// the zero time if it is none.
func (p Proven) RetiringSince() time.Time {
	if !p.e.retiring() {
		return time.Time{}
	}
	return time.UnixMilli(p.e.key().cold().rotatedAt()).UTC()
}

// Metadata returns one metadata value of the key, or else of its org.
func (p Proven) Metadata(name string) (string, bool) {
	if value, ok := p.e.meta(name); ok {
		return value, true
	}
	if org := p.e.org(); org != nil {
		value, ok := org.metadata[name]
		return value, ok
	}
	return "", false
}

// HasTag reports whether the key has a tag.
func (p Proven) HasTag(tag string) bool { return p.e.hasTag(tag) }

// Covers reports whether the key's scopes, or the roles it holds, cover one
// required scope.
func (p Proven) Covers(scope string, roles Roles) bool {
	profile := p.e.profile()
	if profile.grants.Covers(scope) {
		return true
	}
	for _, role := range profile.roles {
		if roles[role].Covers(scope) {
			return true
		}
	}
	return false
}

// AllowsAddr reports whether the key may be used from a client address, by its
// own lists and its org's. addr is unmapped and without zone; the zero Addr is
// an address that is not known, which no list lets in.
func (p Proven) AllowsAddr(addr netip.Addr) bool {
	profile := p.e.profile()
	if !listsAllow(profile.allow, profile.deny, addr) {
		return false
	}
	org := p.e.org()
	return org == nil || listsAllow(org.allow, org.deny, addr)
}

func listsAllow(allow, deny *Addrs, addr netip.Addr) bool {
	if allow == nil && deny == nil {
		return true
	}
	return addr.IsValid() && !deny.Contains(addr) && (allow == nil || allow.Contains(addr))
}

// AllowsOrigin reports whether the key may be used by a page of this origin
// ("" for a request without one). A key without origins is not a browser key
// and asks for none.
func (p Proven) AllowsOrigin(origin string) bool {
	origins := p.e.profile().origins
	return len(origins) == 0 || slices.Contains(origins, origin)
}

// Knows reports whether a text is, or has the form of, a token of this keyring,
// whatever its key's state: such a text must not travel on.
func (k *Keyring) Knows(token, prefix string) bool {
	if token == "" || len(token) > MaxTokenLen {
		return false
	}
	if IsToken(token, prefix) {
		return true
	}
	digest := DigestOf(token)
	_, ok := k.index.Load().snapshot().byDigest(&digest)
	return ok
}
