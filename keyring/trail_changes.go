package keyring

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// comparison has what differs, apart for what names or may name somebody.
type comparison struct{ plain, personal audit.Changes }

func newComparison() comparison { return comparison{audit.Changes{}, audit.Changes{}} }

func changesOfKey(before, after *Key) (plain, personal audit.Changes) {
	c := newComparison()
	compare(c.personal, "name", text(before.Name), text(after.Name))
	compare(c.personal, "owner", text(before.Owner), text(after.Owner))
	compare(c.personal, "purpose", text(before.Purpose), text(after.Purpose))
	compareLists(c.personal, "allow", rangeTexts(before.Allow), rangeTexts(after.Allow))
	compareLists(c.personal, "deny", rangeTexts(before.Deny), rangeTexts(after.Deny))
	compareLists(c.personal, "origins", before.Origins, after.Origins)
	compareLists(c.personal, "client_certs", fingerprintTexts(before.ClientCerts), fingerprintTexts(after.ClientCerts))
	compareLists(c.personal, "tags", before.Tags, after.Tags)
	compareMaps(c.personal, "metadata", before.Metadata, after.Metadata)

	compare(c.plain, "org", text(before.Org), text(after.Org))
	compare(c.plain, "tier", text(before.Tier), text(after.Tier))
	compare(c.plain, "state", text(before.State), text(after.State))
	compare(c.plain, "signing", text(before.Signing), text(after.Signing))
	compare(c.plain, "not_before", moment(before.NotBefore), moment(after.NotBefore))
	compare(c.plain, "expires_at", moment(before.ExpiresAt), moment(after.ExpiresAt))
	compareLists(c.plain, "scopes", before.Scopes, after.Scopes)
	compareLists(c.plain, "roles", before.Roles, after.Roles)
	compareLists(c.plain, "limits", limitTexts(before.Limits), limitTexts(after.Limits))
	compareCredentials(c.plain, before, after)
	if was, is := viewRotation(before.Rotation), viewRotation(after.Rotation); !before.Rotation.equal(after.Rotation) {
		c.plain["rotation"] = audit.Change{Before: was, After: is}
	}
	return c.plain, c.personal
}

// text and moment are nil for nothing.
func text[T ~string](s T) any {
	if s == "" {
		return nil
	}
	return string(s)
}

func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(TimeFormat)
}

func compare(c audit.Changes, field string, before, after any) {
	if before != after {
		c[field] = audit.Change{Before: before, After: after}
	}
}

func compareLists(c audit.Changes, field string, before, after []string) {
	if !slices.Equal(before, after) {
		c[field] = audit.Change{Before: before, After: after}
	}
}

func compareMaps(c audit.Changes, field string, before, after map[string]string) {
	if !maps.Equal(before, after) {
		c[field] = audit.Change{Before: before, After: after}
	}
}

func rangeTexts(ranges []netip.Prefix) (texts []string) {
	for _, r := range ranges {
		texts = append(texts, r.String())
	}
	return texts
}

// credentialView is what the trail shows of a credential: neither its digest nor
// its secret.
type credentialView struct {
	N         uint32 `json:"n"`
	Kind      Kind   `json:"kind"`
	Hint      string `json:"hint,omitempty"`
	ExpiresAt any    `json:"expires_at"`
	EndedAt   any    `json:"ended_at"`
}

// compareCredentials tells of the credentials that are not the same as before.
func compareCredentials(c audit.Changes, before, after *Key) {
	changed := func(of, than *Key) (list []credentialView) {
		for i := range of.Credentials {
			one := &of.Credentials[i]
			if other := than.Credential(one.N); other == nil || !sameCredential(*one, *other) {
				list = append(list, credentialView{one.N, one.Kind, one.Hint, moment(one.ExpiresAt), moment(one.EndedAt)})
			}
		}
		return list
	}
	if was, is := changed(before, after), changed(after, before); len(was)+len(is) > 0 {
		c["credentials"] = audit.Change{Before: was, After: is}
	}
}

type rotationView struct {
	New         uint32   `json:"new"`
	Old         []uint32 `json:"old"`
	EndsAt      any      `json:"ends_at"`
	EndWhenIdle string   `json:"end_when_idle,omitempty"`
}

func viewRotation(r *Rotation) any {
	if r == nil {
		return nil
	}
	v := rotationView{New: r.New, EndsAt: moment(r.EndsAt)}
	for _, old := range r.Old {
		v.Old = append(v.Old, old.N)
	}
	if r.EndWhenIdle > 0 {
		v.EndWhenIdle = r.EndWhenIdle.String()
	}
	return v
}
