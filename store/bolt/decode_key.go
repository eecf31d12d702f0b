package bolt

import (
	"bytes"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

const (
	repeatedInKey = 1<<keyScope | 1<<keyRole | 1<<keyCredential | 1<<keyAllow | 1<<keyDeny | 1<<keyOrigin | 1<<keyTag | 1<<keyMetadata | 1<<keyLimit | 1<<keyClientCert
	repeatedInOrg = 1<<orgAllow | 1<<orgDeny | 1<<orgMetadata | 1<<orgLimit
	repeatedInRot = 1 << rotOld
)

func (d *decoder) key(k *keyring.Key, payload []byte) error {
	f := fields{rest: payload}
	for f.next(repeatedInKey) {
		if f.bytes != nil {
			d.keyBytes(k, &f)
			continue
		}
		switch f.num {
		case keyRevision:
			k.Revision = f.value
		case keyCreatedAt:
			k.CreatedAt = f.time()
		case keyUpdatedAt:
			k.UpdatedAt = f.time()
		case keyExpiresAt:
			k.ExpiresAt = f.time()
		case keyNotBefore:
			k.NotBefore = f.time()
		default:
			f.unknown()
		}
	}
	return f.err
}

func (d *decoder) keyBytes(k *keyring.Key, f *fields) {
	switch f.num {
	case keyName:
		k.Name = string(f.bytes)
	case keyOrg:
		k.Org = d.share(f.bytes)
	case keyOwner:
		k.Owner = d.share(f.bytes)
	case keyPurpose:
		k.Purpose = d.share(f.bytes)
	case keyTier:
		k.Tier = d.share(f.bytes)
	case keyState:
		k.State = state(f.bytes)
	case keyScope:
		k.Scopes = f.strings(d, k.Scopes)
	case keyRole:
		k.Roles = f.strings(d, k.Roles)
	case keyCredential:
		if k.Credentials == nil {
			k.Credentials = make([]keyring.Credential, 0, f.more())
		}
		k.Credentials = append(k.Credentials, keyring.Credential{})
		f.nested(d.credential(&k.Credentials[len(k.Credentials)-1], f.bytes))
	case keySigning:
		k.Signing = keyring.Signing(d.share(f.bytes))
	case keyAllow:
		k.Allow = f.prefixes(k.Allow)
	case keyDeny:
		k.Deny = f.prefixes(k.Deny)
	case keyOrigin:
		k.Origins = f.strings(d, k.Origins)
	case keyTag:
		k.Tags = f.strings(d, k.Tags)
	case keyMetadata:
		k.Metadata = f.entry(d, k.Metadata)
	case keyRotation:
		k.Rotation = new(keyring.Rotation)
		f.nested(d.rotation(k.Rotation, f.bytes))
	case keyLimit:
		k.Limits = f.limits(k.Limits)
	case keyClientCert:
		k.ClientCerts = f.fingerprints(k.ClientCerts)
	default:
		f.unknown()
	}
}

func (f *fields) nested(err error) {
	if err != nil {
		f.err = err
	}
}

func (d *decoder) credential(c *keyring.Credential, b []byte) error {
	f := fields{rest: b}
	for f.next(0) {
		isBytes := f.bytes != nil
		switch {
		case !isBytes && f.num == credN:
			c.N = f.uint32()
		case isBytes && f.num == credKind:
			c.Kind = keyring.Kind(d.share(f.bytes))
		case isBytes && f.num == credHint:
			c.Hint = string(f.bytes)
		case isBytes && f.num == credDigest && len(f.bytes) == len(c.Digest):
			copy(c.Digest[:], f.bytes)
		case isBytes && f.num == credSealed:
			c.Sealed = bytes.Clone(f.bytes)
		case isBytes && f.num == credPublicKey:
			c.PublicKey = bytes.Clone(f.bytes)
		case !isBytes && f.num == credCreatedAt:
			c.CreatedAt = f.time()
		case !isBytes && f.num == credExpiresAt:
			c.ExpiresAt = f.time()
		case !isBytes && f.num == credEndedAt:
			c.EndedAt = f.time()
		default:
			f.unknown()
		}
	}
	return f.err
}

func (d *decoder) rotation(r *keyring.Rotation, b []byte) error {
	f := fields{rest: b}
	for f.next(repeatedInRot) {
		isBytes := f.bytes != nil
		switch {
		case !isBytes && f.num == rotStartedAt:
			r.StartedAt = f.time()
		case !isBytes && f.num == rotEndsAt:
			r.EndsAt = f.time()
		case !isBytes && f.num == rotNew:
			r.New = f.uint32()
		case isBytes && f.num == rotOld:
			var old keyring.RetiringCredential
			f.nested(d.retiring(&old, f.bytes))
			r.Old = append(r.Old, old)
		case !isBytes && f.num == rotIdle:
			r.EndWhenIdle = time.Duration(f.uint32()) * time.Second
		default:
			f.unknown()
		}
	}
	return f.err
}

func (d *decoder) retiring(old *keyring.RetiringCredential, b []byte) error {
	f := fields{rest: b}
	for f.next(0) {
		switch {
		case f.bytes == nil && f.num == oldN:
			old.N = f.uint32()
		case f.bytes == nil && f.num == oldExpires:
			old.ExpiresWithout = f.time()
		default:
			f.unknown()
		}
	}
	return f.err
}

func (d *decoder) org(o *keyring.Org, payload []byte) error {
	f := fields{rest: payload}
	for f.next(repeatedInOrg) {
		isBytes := f.bytes != nil
		switch {
		case isBytes && f.num == orgTitle:
			o.Title = string(f.bytes)
		case isBytes && f.num == orgTier:
			o.Tier = d.share(f.bytes)
		case isBytes && f.num == orgState:
			o.State = state(f.bytes)
		case !isBytes && f.num == orgRevision:
			o.Revision = f.value
		case !isBytes && f.num == orgCreatedAt:
			o.CreatedAt = f.time()
		case !isBytes && f.num == orgUpdatedAt:
			o.UpdatedAt = f.time()
		case isBytes && f.num == orgAllow:
			o.Allow = f.prefixes(o.Allow)
		case isBytes && f.num == orgDeny:
			o.Deny = f.prefixes(o.Deny)
		case isBytes && f.num == orgMetadata:
			o.Metadata = f.entry(d, o.Metadata)
		case isBytes && f.num == orgLimit:
			o.Limits = f.limits(o.Limits)
		default:
			f.unknown()
		}
	}
	return f.err
}
