package adminapi

import (
	"errors"
	"net/http"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// eraseInput is the body of POST erase.
type eraseInput struct {
	Key    member[text] `json:"key"`
	Owner  member[text] `json:"owner"`
	Org    member[text] `json:"org"`
	DryRun member[bool] `json:"dry_run"`
}

// eraseView is its answer: what was erased, or would be.
type eraseView struct {
	DryRun     bool     `json:"dry_run"`
	Keys       []string `json:"keys"`
	Fields     []string `json:"fields_of"`
	InForce    []string `json:"in_force"`
	Former     []string `json:"former"`
	Management int      `json:"management_entries"`
	Calls      int      `json:"call_entries"`
}

// erase answers POST erase: what is known of an owner is erased from both trails,
// from the record of use, and from the keys that are over. What was done stays,
// and so do the chains. It can be repeated after a failure on the way.
func (c *call) erase() error {
	var in eraseInput
	if err := c.decode(&in); err != nil {
		return err
	}
	ctx, e := c.r.Context(), keyring.Erasure{Key: string(in.Key.value), Owner: string(in.Owner.value), Org: string(in.Org.value)}
	given := 0
	for _, about := range []string{e.Key, e.Owner, e.Org} {
		if about != "" {
			given++
		}
	}
	if given != 1 {
		return badField("key", "give the id of one key, an owner, or an org, one of them")
	}
	if err := c.keys.FindErasable(ctx, &e); err != nil {
		return err
	}
	record, err := c.useRecord() // before anything is done
	if err != nil {
		return err
	}
	v := eraseView{DryRun: in.DryRun.value, Keys: list(e.Keys), Fields: list(e.Final), InForce: list(e.InForce), Former: list(e.Former)}
	if v.DryRun {
		c.write(http.StatusOK, "application/json", v)
		return nil
	}
	if err := c.keys.TellErasure(ctx, &e); err != nil {
		return err
	}
	if err := c.eraseTraces(&e, record, &v); err != nil {
		p := refusal(storeUnavailable, "Not everything was erased: %v. Repeat the request when that is mended.", err)
		p.cause = err
		return p
	}
	c.write(http.StatusOK, "application/json", v)
	return nil
}

func (c *call) eraseTraces(e *keyring.Erasure, record usage.Store, v *eraseView) error {
	ctx := c.r.Context()
	for _, key := range e.Keys {
		if err := record.Forget(ctx, key); err != nil {
			return err
		}
	}
	// A trail with damaged entries is erased as far as it can be read.
	calls := record.EraseTrail(ctx, e.Matches(&v.Calls))
	if calls != nil && !errors.Is(calls, keyring.ErrDamaged) {
		return calls
	}
	management := c.keys.Trail().EraseTrail(ctx, e.Matches(&v.Management))
	if management != nil && !errors.Is(management, keyring.ErrDamaged) {
		return management
	}
	// Last: by the owner, the keys would not be found again.
	return errors.Join(calls, management, c.keys.EraseFields(ctx, e))
}
