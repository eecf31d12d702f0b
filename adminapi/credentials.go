package adminapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// rotate answers POST keys/{id}/rotate.
func (c *call) rotate() error {
	revision, err := c.revision()
	if err != nil {
		return err
	}
	var in rotateInput
	if err := c.decodeOptional(&in); err != nil {
		return err
	}
	plan, err := in.plan()
	if err != nil {
		return err
	}
	issue, err := in.issue(c.app)
	if err != nil {
		return err
	}
	if plan.Overlap == 0 {
		ends := func(key *keyring.Key, _ uint32) bool { return !key.RotationPending(c.keys.Now()) }
		if err := c.confirmEnd(c.vars["id"], "the credential that would end at once", "", ends); err != nil {
			return err
		}
	}
	key, secret, err := c.keys.Rotate(c.r.Context(), c.vars["id"], revision, plan, issue)
	if err != nil {
		return err
	}
	return c.issued(http.StatusOK, key, false, secret)
}

// listCredentials answers GET keys/{id}/credentials.
func (c *call) listCredentials() error {
	key, err := c.keys.Key(c.r.Context(), c.vars["id"])
	if err != nil {
		return err
	}
	return c.record(http.StatusOK, key.Revision, struct {
		Credentials []credentialView `json:"credentials"`
	}{c.usedKey(key).Credentials})
}

// addCredential answers POST keys/{id}/credentials.
func (c *call) addCredential() error {
	revision, err := c.revision()
	if err != nil {
		return err
	}
	var in credentialInput
	if err := c.decodeOptional(&in); err != nil {
		return err
	}
	issue, err := in.issue(c.app)
	if err != nil {
		return err
	}
	key, secret, err := c.keys.AddCredential(c.r.Context(), c.vars["id"], revision, issue)
	if err != nil {
		return err
	}
	return c.issued(http.StatusCreated, key, true, secret)
}

// endCredential answers DELETE keys/{id}/credentials/{n}.
func (c *call) endCredential() error {
	n, err := strconv.ParseUint(c.vars["n"], 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != c.vars["n"] {
		return refusal(notFound, "There is no such credential: they have numbers, 1, 2 and so on.")
	}
	ends := func(key *keyring.Key, credential uint32) bool {
		if credential != uint32(n) {
			return false
		}
		now, it := c.keys.Now(), key.Credential(credential)
		isNew := key.RotationPending(now) && credential == key.Rotation.New // which is refused
		return it != nil && it.Live(now) && !isNew
	}
	err = c.changeKey(c.unused("the credential", "", ends, func(ctx context.Context, id string, revision uint64) (*keyring.Key, error) {
		return c.keys.EndCredential(ctx, id, revision, uint32(n))
	}))
	if err == nil {
		c.told["credential"] = uint32(n)
	}
	return err
}
