package adminapi

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// keyInput is what a caller may write about a key.
type keyInput struct {
	Name      member[text]            `json:"name"`
	Org       member[text]            `json:"org"`
	Owner     member[text]            `json:"owner"`
	Purpose   member[text]            `json:"purpose"`
	Tier      member[text]            `json:"tier"`
	Limits    member[[]text]          `json:"limits"`
	Scopes    member[[]text]          `json:"scopes"`
	Roles     member[[]text]          `json:"roles"`
	Allow     member[[]text]          `json:"allow"`
	Deny      member[[]text]          `json:"deny"`
	Origins   member[[]text]          `json:"origins"`
	Certs     member[[]text]          `json:"client_certs"`
	Signing   member[text]            `json:"signing"`
	Tags      member[[]text]          `json:"tags"`
	Metadata  member[map[string]text] `json:"metadata"`
	NotBefore nullable[instant]       `json:"not_before"`
	ExpiresAt nullable[instant]       `json:"expires_at"`
}

// createInput is the body of POST /keys.
type createInput struct {
	keyInput
	Credential member[credentialInput] `json:"credential"`
}

// editInput is the body of PATCH /keys/{id}.
type editInput struct {
	keyInput
	AllowAnyone member[bool] `json:"allow_anyone"`
}

// credentialInput says which credential to make.
type credentialInput struct {
	Kind      member[text]      `json:"kind"`
	Secret    member[text]      `json:"secret"`
	PublicKey member[text]      `json:"public_key"`
	ExpiresAt nullable[instant] `json:"expires_at"`
}

// rotateInput is the body of POST /keys/{id}/rotate.
type rotateInput struct {
	credentialInput
	Overlap     member[timespan] `json:"overlap"`
	EndWhenIdle member[timespan] `json:"end_when_idle"`
}

// orgInput is the body of PUT and PATCH /orgs/{org}.
type orgInput struct {
	Title       member[text]            `json:"title"`
	Tier        member[text]            `json:"tier"`
	Allow       member[[]text]          `json:"allow"`
	Deny        member[[]text]          `json:"deny"`
	Limits      member[[]text]          `json:"limits"`
	Metadata    member[map[string]text] `json:"metadata"`
	AllowAnyone member[bool]            `json:"allow_anyone"`
}

// definitions is what the running configuration defines that keys may name.
type definitions interface {
	HasRole(name string) bool
	HasTier(name string) bool // any, where it defines none
}

// apply writes the fields that are present into k.
func (in *keyInput) apply(k *keyring.Key, defined definitions) error {
	setText(&k.Name, in.Name)
	setText(&k.Org, in.Org)
	setText(&k.Owner, in.Owner)
	setText(&k.Purpose, in.Purpose)
	setText(&k.Tier, in.Tier)
	setText(&k.Signing, in.Signing)
	setList(&k.Scopes, in.Scopes)
	setList(&k.Roles, in.Roles)
	setList(&k.Origins, in.Origins)
	setList(&k.Tags, in.Tags)
	setMap(&k.Metadata, in.Metadata)
	setTime(&k.NotBefore, in.NotBefore)
	setTime(&k.ExpiresAt, in.ExpiresAt)
	if err := setAddrs(&k.Allow, "allow", in.Allow); err != nil {
		return err
	}
	if err := setAddrs(&k.Deny, "deny", in.Deny); err != nil {
		return err
	}
	if err := setLimits(&k.Limits, in.Limits); err != nil {
		return err
	}
	if in.Certs.present {
		certs, err := keyring.ParseFingerprints("client_certs", plain(in.Certs.value))
		if err != nil {
			return err
		}
		k.ClientCerts = certs
	}
	if in.Roles.present {
		if err := checkRoles(k.Roles, defined); err != nil {
			return err
		}
	}
	return checkTier(in.Tier, defined)
}

// checkRoles refuses a role that grants nothing because it is mistyped.
func checkRoles(roles []string, defined definitions) error {
	for i, role := range roles {
		if !defined.HasRole(role) {
			return badField(fmt.Sprintf("roles[%d]", i), "the running configuration defines no role of this name; define it with `role` in the api_keys options, or write scopes instead")
		}
	}
	return nil
}

// issue says which credential to make.
func (in *credentialInput) issue(a app) (keyring.Issue, error) {
	issue := keyring.Issue{
		Kind:      keyring.Kind(in.Kind.value),
		Prefix:    a.TokenPrefix(),
		ExpiresAt: time.Time(in.ExpiresAt.value),
		Sealer:    a.Sealer(),
		Secret:    keyring.NewSecret(string(in.Secret.value)),
	}
	if in.Kind.present && issue.Kind == "" {
		return issue, badField("kind", "must be token, shared_secret or public_key")
	}
	if in.Secret.present && issue.Kind != keyring.KindSharedSecret {
		return issue, badField("secret", `only a credential of kind shared_secret takes one; write "kind": "shared_secret"`)
	}
	if in.Secret.present && in.Secret.value == "" {
		return issue, badField("secret", "must not be empty; leave it out to have one made")
	}
	var err error
	if in.PublicKey.present {
		issue.PublicKey, err = publicKey(in.PublicKey.value)
	}
	return issue, err
}

// publicKey reads a public key in PEM or as a JWK.
func publicKey(t text) ([]byte, error) {
	key, err := hmacsig.ParsePublicKey([]byte(t))
	if err != nil {
		return nil, badField("public_key", "%s; write a public key in PEM or as a JWK, ed25519 or ECDSA with P-256", strings.TrimPrefix(err.Error(), "hmacsig: "))
	}
	return key.PublicDER()
}

// within puts the name of an enclosing object before the field that an error
// names.
func within(object string, err error) error {
	var p *problem
	if errors.As(err, &p) && p.field != "" {
		nested := *p
		nested.field = object + "." + p.field
		return &nested
	}
	return err
}

func (in *rotateInput) plan() (plan keyring.RotationPlan, err error) {
	plan.Overlap = keyring.DefaultOverlap
	if in.Overlap.present {
		if plan.Overlap, err = parseDuration(string(in.Overlap.value)); err != nil {
			return plan, badField("overlap", "must be a duration such as \"168h\" or \"7d\"; \"0s\" ends the old credential at once")
		}
	}
	if in.EndWhenIdle.present {
		if plan.EndWhenIdle, err = parseDuration(string(in.EndWhenIdle.value)); err != nil || plan.EndWhenIdle == 0 {
			return plan, badField("end_when_idle", "must be a duration such as \"24h\" or \"2d\"; leave it out to have the old credential live until the overlap ends")
		}
	}
	return plan, nil
}

// parseDuration reads a duration that is not negative.
func parseDuration(text string) (time.Duration, error) {
	d, err := caddy.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("negative")
	}
	return d, err
}

// edit is a PATCH: it writes the fields that are present into o.
func (in *orgInput) edit(o *keyring.Org) error {
	setText(&o.Title, in.Title)
	setText(&o.Tier, in.Tier)
	setMap(&o.Metadata, in.Metadata)
	if err := setAddrs(&o.Allow, "allow", in.Allow); err != nil {
		return err
	}
	if err := setLimits(&o.Limits, in.Limits); err != nil {
		return err
	}
	return setAddrs(&o.Deny, "deny", in.Deny)
}

// replace is a PUT: fields that are left out become empty, except that what
// limits the org is never emptied by leaving it out.
func (in *orgInput) replace(o *keyring.Org) error {
	const missing = "the org has such a list and this body has none; send the whole list"
	if !in.Allow.present && len(o.Allow) > 0 {
		return badField("allow", missing+", or [] with \"allow_anyone\": true to let its keys be used from anywhere")
	}
	if !in.Deny.present && len(o.Deny) > 0 {
		return badField("deny", missing+", or [] to refuse no address")
	}
	if !in.Limits.present && len(o.Limits) > 0 {
		return badField("limits", missing+", or [] for no limits of its own")
	}
	if !in.Tier.present && o.Tier != "" {
		return badField("tier", "the org is of a tier, whose limits hold for it, and this body has none; send it, or \"\" for none")
	}
	o.Title, o.Metadata = "", nil
	return in.edit(o)
}
