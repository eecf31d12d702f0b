package adminapi

import (
	"net/netip"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// keyView is a key as answers show it: every field, always; never a digest.
type keyView struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Org         string            `json:"org"`
	Owner       string            `json:"owner"`
	Purpose     string            `json:"purpose"`
	State       keyring.State     `json:"state"`
	Scopes      []string          `json:"scopes"`
	Roles       []string          `json:"roles"`
	Allow       []string          `json:"allow"`
	Deny        []string          `json:"deny"`
	Origins     []string          `json:"origins"`
	ClientCerts []string          `json:"client_certs"`
	Signing     keyring.Signing   `json:"signing"`
	Tier        string            `json:"tier"`
	Limits      []string          `json:"limits"`
	Tags        []string          `json:"tags"`
	Metadata    map[string]string `json:"metadata"`
	NotBefore   *string           `json:"not_before"`
	ExpiresAt   *string           `json:"expires_at"`
	CreatedAt   string            `json:"created_at"`
	UpdatedAt   string            `json:"updated_at"`
	Revision    uint64            `json:"revision"`
	Credentials []credentialView  `json:"credentials"`
	Rotation    *rotationView     `json:"rotation"`
}

type credentialView struct {
	N         uint32       `json:"n"`
	Kind      keyring.Kind `json:"kind"`
	Hint      string       `json:"hint"`
	CreatedAt string       `json:"created_at"`
	ExpiresAt *string      `json:"expires_at"`
	EndedAt   *string      `json:"ended_at"`

	LastUsedAt *string `json:"last_used_at"`
	LastUsedIP *string `json:"last_used_ip"`
	Requests   uint64  `json:"requests"` // that proved it, refused ones too
	Refused    uint64  `json:"refused"`
}

type rotationView struct {
	New       uint32   `json:"new"`
	Old       []uint32 `json:"old"`
	StartedAt string   `json:"started_at"`
	EndsAt    string   `json:"ends_at"`

	EndWhenIdle *string `json:"end_when_idle"`
}

// orgView is an org as answers show it.
type orgView struct {
	Name      string            `json:"name"`
	Title     string            `json:"title"`
	State     keyring.State     `json:"state"`
	Tier      string            `json:"tier"`
	Allow     []string          `json:"allow"`
	Deny      []string          `json:"deny"`
	Limits    []string          `json:"limits"`
	Metadata  map[string]string `json:"metadata"`
	CreatedAt string            `json:"created_at"`
	UpdatedAt string            `json:"updated_at"`
	Revision  uint64            `json:"revision"`
}

// issuedView is the one answer that shows a token or a shared secret.
type issuedView struct {
	Key        keyView `json:"key"`
	Credential uint32  `json:"credential,omitzero"`
	Token      string  `json:"token,omitempty"`
	Secret     string  `json:"secret,omitempty"`
}

func viewKey(k *keyring.Key, now time.Time) keyView {
	v := keyView{
		ID: k.ID, Name: k.Name, Org: k.Org, Owner: k.Owner, Purpose: k.Purpose, State: k.State,
		Scopes: k.Scopes, Roles: k.Roles, Allow: viewAddrs(k.Allow), Deny: viewAddrs(k.Deny), Origins: k.Origins, ClientCerts: viewCerts(k.ClientCerts),
		Signing: k.Signing, Tier: k.Tier, Limits: limit.Texts(k.Limits), Tags: k.Tags, Metadata: k.Metadata,
		NotBefore: viewLimit(k.NotBefore), ExpiresAt: viewLimit(k.ExpiresAt),
		CreatedAt: viewTime(k.CreatedAt), UpdatedAt: viewTime(k.UpdatedAt),
		Revision: k.Revision, Credentials: viewCredentials(k),
	}
	// One that is over is kept in the record until the next rotation.
	if k.RotationPending(now) {
		v.Rotation = viewRotation(k.Rotation)
	}
	return v
}

func viewCredentials(k *keyring.Key) []credentialView {
	list := make([]credentialView, len(k.Credentials))
	for i, c := range k.Credentials {
		list[i] = credentialView{
			N: c.N, Kind: c.Kind, Hint: c.Hint,
			CreatedAt: viewTime(c.CreatedAt), ExpiresAt: viewLimit(c.ExpiresAt), EndedAt: viewLimit(c.EndedAt),
		}
	}
	return list
}

func viewRotation(r *keyring.Rotation) *rotationView {
	v := &rotationView{New: r.New, StartedAt: viewTime(r.StartedAt), EndsAt: viewTime(r.EndsAt)}
	if r.EndWhenIdle > 0 {
		text := short(r.EndWhenIdle)
		v.EndWhenIdle = &text
	}
	for _, old := range r.Old {
		v.Old = append(v.Old, old.N)
	}
	return v
}

func viewOrg(o *keyring.Org) orgView {
	return orgView{
		Name: o.Name, Title: o.Title, State: o.State, Tier: o.Tier,
		Allow: viewAddrs(o.Allow), Deny: viewAddrs(o.Deny), Limits: limit.Texts(o.Limits), Metadata: o.Metadata,
		CreatedAt: viewTime(o.CreatedAt), UpdatedAt: viewTime(o.UpdatedAt), Revision: o.Revision,
	}
}

// viewAddrs writes single addresses without their prefix length.
func viewAddrs(list []netip.Prefix) []string {
	texts := make([]string, len(list))
	for i, p := range list {
		if texts[i] = p.String(); p.IsSingleIP() {
			texts[i] = p.Addr().String()
		}
	}
	return texts
}

func viewCerts(list []keyring.Fingerprint) []string {
	texts := make([]string, len(list))
	for i, f := range list {
		texts[i] = f.String()
	}
	return texts
}

func viewTime(t time.Time) string { return t.UTC().Format(keyring.TimeFormat) }

func viewLimit(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := viewTime(t)
	return &text
}
