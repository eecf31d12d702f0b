package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// listKeys answers GET keys.
func (c *call) listKeys() error {
	query := c.r.URL.Query()
	f, err := filter(query)
	if err != nil {
		return err
	}
	after, limit, err := keyPage(query)
	if err != nil {
		return err
	}
	byUse, err := useFilterOf(query, time.Now())
	if err != nil {
		return err
	}
	keys, uses, next, err := c.keysByUse(f, byUse, after, limit)
	if err != nil {
		return err
	}
	now := time.Now()
	views := make([]keyView, len(keys))
	for i, key := range keys {
		views[i] = viewKey(key, now)
		showUses(views[i].Credentials, uses[i])
	}
	c.write(http.StatusOK, "application/json", struct {
		Keys []keyView `json:"keys"`
		Next *string   `json:"next"`
	}{views, cursor(next)})
	return nil
}

// createKey answers POST keys.
func (c *call) createKey() error {
	var in createInput
	if err := c.decode(&in); err != nil {
		return err
	}
	var spec keyring.Key
	if err := in.apply(&spec, c.app); err != nil {
		return err
	}
	issue, err := in.Credential.value.issue(c.app)
	if err != nil {
		return within("credential", err)
	}
	key, secret, err := c.keys.Create(c.r.Context(), spec, issue)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", root+"keys/"+key.ID)
	return c.issued(http.StatusCreated, key, false, secret)
}

// getKey answers GET keys/{id}.
func (c *call) getKey() error {
	key, err := c.keys.Key(c.r.Context(), c.vars["id"])
	if err != nil {
		return err
	}
	return c.key(key)
}

// patchKey answers PATCH keys/{id}.
func (c *call) patchKey() error {
	revision, err := c.revision()
	if err != nil {
		return err
	}
	var in editInput
	if err := c.decode(&in); err != nil {
		return err
	}
	edits := keyring.Edits{AllowAnyone: in.AllowAnyone.value}
	key, err := c.keys.Edit(c.r.Context(), c.vars["id"], revision, edits, func(k *keyring.Key) error {
		return in.apply(k, c.app)
	})
	if err != nil {
		return err
	}
	c.tellKey(key, 0)
	return c.key(key)
}

// deleteKey answers DELETE keys/{id}.
func (c *call) deleteKey() error {
	revision, err := c.revision()
	if err != nil {
		return err
	}
	if err := c.noBody(); err != nil {
		return err
	}
	if _, err := c.forced(); err != nil { // scripts end keys with it; a revoked one has nobody to ask about
		return err
	}
	key, err := c.keys.Delete(c.r.Context(), c.vars["id"], revision)
	if err != nil {
		return err
	}
	c.tellKey(key, 0)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) suspendKey() error {
	return c.changeKey(c.unused("the key", keyring.StateSuspended, nil, c.keys.Suspend))
}
func (c *call) resumeKey() error { return c.changeKey(c.keys.Resume) }
func (c *call) revokeKey() error {
	return c.changeKey(c.unused("the key", keyring.StateRevoked, nil, c.keys.Revoke))
}

// unused is a change that asks for confirmation if what it ends was used lately.
func (c *call) unused(what string, to keyring.State, which func(*keyring.Key, uint32) bool, change func(context.Context, string, uint64) (*keyring.Key, error)) func(context.Context, string, uint64) (*keyring.Key, error) {
	return func(ctx context.Context, id string, revision uint64) (*keyring.Key, error) {
		if err := c.confirmEnd(id, what, to, which); err != nil {
			return nil, err
		}
		return change(ctx, id, revision)
	}
}

// cancelRotation answers DELETE keys/{id}/rotate.
func (c *call) cancelRotation() error { return c.changeKey(c.keys.CancelRotation) }

// changeKey makes a change that takes no more than the key's name.
func (c *call) changeKey(change func(context.Context, string, uint64) (*keyring.Key, error)) error {
	revision, err := c.revision()
	if err != nil {
		return err
	}
	if err := c.noBody(); err != nil {
		return err
	}
	key, err := change(c.r.Context(), c.vars["id"], revision)
	if err != nil {
		return err
	}
	c.tellKey(key, 0)
	return c.key(key)
}

// key answers with one key.
func (c *call) key(key *keyring.Key) error {
	return c.record(http.StatusOK, key.Revision, c.usedKey(key))
}

// usedKey is viewKey with the use of the key's credentials.
func (c *call) usedKey(key *keyring.Key) keyView {
	view := viewKey(key, time.Now())
	showUses(view.Credentials, c.lastUses(key)[0])
	return view
}

// issued answers with a key whose newest credential was made just now, and with
// its token or shared secret, which is shown this once. numbered says whether
// the credential's number is told, too.
func (c *call) issued(status int, key *keyring.Key, numbered bool, secret keyring.Secret) error {
	made := &key.Credentials[len(key.Credentials)-1]
	c.tellKey(key, made.N)
	view := issuedView{Key: c.usedKey(key)}
	if numbered {
		view.Credential = made.N
	}
	switch made.Kind {
	case keyring.KindToken:
		view.Token = secret.Reveal()
	case keyring.KindSharedSecret:
		view.Secret = secret.Reveal()
	}
	return c.record(status, key.Revision, view)
}
