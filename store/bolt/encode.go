package bolt

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// The fields of a record, in the protocol buffers wire format. Numbers are
// never used again. Fields stand in ascending order; one that has its zero
// value is left out, and so is a zero time. Times are milliseconds since 1970,
// zigzag; an address range is its 4 or 16 bytes and its length.
const (
	keyName        protowire.Number = 1
	keyOrg         protowire.Number = 2
	keyOwner       protowire.Number = 3
	keyPurpose     protowire.Number = 4
	keyTier        protowire.Number = 5
	keyState       protowire.Number = 6
	keyRevision    protowire.Number = 7
	keyScope       protowire.Number = 8 // repeated
	keyRole        protowire.Number = 9 // repeated
	keyCredential  protowire.Number = 10
	keyCreatedAt   protowire.Number = 11
	keyUpdatedAt   protowire.Number = 12
	keyExpiresAt   protowire.Number = 13
	keySigning     protowire.Number = 14
	keyAllow       protowire.Number = 15 // repeated
	keyDeny        protowire.Number = 16 // repeated
	keyOrigin      protowire.Number = 17 // repeated
	keyTag         protowire.Number = 18 // repeated
	keyMetadata    protowire.Number = 19 // repeated entry
	keyNotBefore   protowire.Number = 20
	keyRotation    protowire.Number = 21
	keyClientCert  protowire.Number = 22 // repeated
	keyLimit       protowire.Number = 23 // repeated
	credN          protowire.Number = 1
	credKind       protowire.Number = 2
	credHint       protowire.Number = 3
	credDigest     protowire.Number = 4
	credCreatedAt  protowire.Number = 5
	credExpiresAt  protowire.Number = 6
	credEndedAt    protowire.Number = 7
	credSealed     protowire.Number = 8
	credPublicKey  protowire.Number = 9
	rotStartedAt   protowire.Number = 1
	rotEndsAt      protowire.Number = 2
	rotNew         protowire.Number = 3
	rotOld         protowire.Number = 4 // repeated
	rotIdle        protowire.Number = 5 // seconds
	oldN           protowire.Number = 1
	oldExpires     protowire.Number = 2
	entryKey       protowire.Number = 1
	entryValue     protowire.Number = 2
	orgTitle       protowire.Number = 1
	orgTier        protowire.Number = 5
	orgState       protowire.Number = 6
	orgRevision    protowire.Number = 7
	orgCreatedAt   protowire.Number = 11
	orgUpdatedAt   protowire.Number = 12
	orgAllow       protowire.Number = 15       // repeated
	orgDeny        protowire.Number = 16       // repeated
	orgMetadata    protowire.Number = 19       // repeated entry
	orgLimit       protowire.Number = 23       // repeated
	fieldState                      = keyState // the same in both, see peek
	fieldRevision                   = keyRevision
	maxFieldNumber                  = 23
)

func appendKey(b []byte, k *keyring.Key) []byte {
	b = appendString(b, keyName, k.Name)
	b = appendString(b, keyOrg, k.Org)
	b = appendString(b, keyOwner, k.Owner)
	b = appendString(b, keyPurpose, k.Purpose)
	b = appendString(b, keyTier, k.Tier)
	b = appendString(b, keyState, string(k.State))
	b = appendUint(b, keyRevision, k.Revision)
	b = appendStrings(b, keyScope, k.Scopes)
	b = appendStrings(b, keyRole, k.Roles)
	for i := range k.Credentials {
		b = appendMessage(b, keyCredential, func(b []byte) []byte { return appendCredential(b, &k.Credentials[i]) })
	}
	b = appendTime(b, keyCreatedAt, k.CreatedAt)
	b = appendTime(b, keyUpdatedAt, k.UpdatedAt)
	b = appendTime(b, keyExpiresAt, k.ExpiresAt)
	b = appendString(b, keySigning, string(k.Signing))
	b = appendPrefixes(b, keyAllow, k.Allow)
	b = appendPrefixes(b, keyDeny, k.Deny)
	b = appendStrings(b, keyOrigin, k.Origins)
	b = appendStrings(b, keyTag, k.Tags)
	b = appendEntries(b, keyMetadata, k.Metadata)
	b = appendTime(b, keyNotBefore, k.NotBefore)
	if k.Rotation != nil {
		b = appendMessage(b, keyRotation, func(b []byte) []byte { return appendRotation(b, k.Rotation) })
	}
	for _, f := range k.ClientCerts {
		b = appendBytes(b, keyClientCert, f[:])
	}
	return appendStrings(b, keyLimit, limit.Texts(k.Limits))
}

func appendCredential(b []byte, c *keyring.Credential) []byte {
	b = appendUint(b, credN, uint64(c.N))
	b = appendString(b, credKind, string(c.Kind))
	b = appendString(b, credHint, c.Hint)
	if c.Digest != [32]byte{} {
		b = appendBytes(b, credDigest, c.Digest[:])
	}
	b = appendTime(b, credCreatedAt, c.CreatedAt)
	b = appendTime(b, credExpiresAt, c.ExpiresAt)
	b = appendTime(b, credEndedAt, c.EndedAt)
	b = appendBytes(b, credSealed, c.Sealed)
	return appendBytes(b, credPublicKey, c.PublicKey)
}

func appendRotation(b []byte, r *keyring.Rotation) []byte {
	b = appendTime(b, rotStartedAt, r.StartedAt)
	b = appendTime(b, rotEndsAt, r.EndsAt)
	b = appendUint(b, rotNew, uint64(r.New))
	for _, old := range r.Old {
		b = appendMessage(b, rotOld, func(b []byte) []byte {
			b = appendUint(b, oldN, uint64(old.N))
			return appendTime(b, oldExpires, old.ExpiresWithout)
		})
	}
	return appendUint(b, rotIdle, uint64(r.EndWhenIdle/time.Second))
}

func appendOrg(b []byte, o *keyring.Org) []byte {
	b = appendString(b, orgTitle, o.Title)
	b = appendString(b, orgTier, o.Tier)
	b = appendString(b, orgState, string(o.State))
	b = appendUint(b, orgRevision, o.Revision)
	b = appendTime(b, orgCreatedAt, o.CreatedAt)
	b = appendTime(b, orgUpdatedAt, o.UpdatedAt)
	b = appendPrefixes(b, orgAllow, o.Allow)
	b = appendPrefixes(b, orgDeny, o.Deny)
	b = appendEntries(b, orgMetadata, o.Metadata)
	return appendStrings(b, orgLimit, limit.Texts(o.Limits))
}

func appendString(b []byte, n protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

func appendBytes(b []byte, n protowire.Number, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), value)
}

// appendStrings keeps empty elements: they are part of the list.
func appendStrings(b []byte, n protowire.Number, list []string) []byte {
	for _, s := range list {
		b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
	}
	return b
}

func appendUint(b []byte, n protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func appendTime(b []byte, n protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), protowire.EncodeZigZag(t.UnixMilli()))
}

func appendPrefixes(b []byte, n protowire.Number, list []netip.Prefix) []byte {
	for _, p := range list {
		raw, _ := p.MarshalBinary() // always nil
		b = protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), raw)
	}
	return b
}

func appendEntries(b []byte, n protowire.Number, m map[string]string) []byte {
	if len(m) == 0 {
		return b
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = appendMessage(b, n, func(b []byte) []byte {
			return appendString(appendString(b, entryKey, k), entryValue, m[k])
		})
	}
	return b
}

// appendMessage appends what fill appends, with its length before it.
func appendMessage(b []byte, n protowire.Number, fill func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, n, protowire.BytesType)
	start := len(b)
	b = fill(b)
	size := len(b) - start
	head := protowire.SizeVarint(uint64(size))
	b = append(b, make([]byte, head)...)
	copy(b[start+head:], b[start:start+size])
	protowire.AppendVarint(b[:start], uint64(size))
	return b
}
