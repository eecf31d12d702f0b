package adminapi

import (
	"fmt"
	"net/http"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// listOrgs answers GET orgs.
func (c *call) listOrgs() error {
	after, limit, err := page(c.r.URL.Query())
	if err != nil {
		return err
	}
	orgs, next, err := c.keys.Orgs(c.r.Context(), after, limit)
	if err != nil {
		return err
	}
	views := make([]orgView, len(orgs))
	for i, org := range orgs {
		views[i] = viewOrg(org)
	}
	c.write(http.StatusOK, "application/json", struct {
		Orgs []orgView `json:"orgs"`
		Next *string   `json:"next"`
	}{views, cursor(next)})
	return nil
}

// getOrg answers GET orgs/{org}.
func (c *call) getOrg() error {
	org, err := c.keys.Org(c.r.Context(), c.vars["org"])
	if err != nil {
		return err
	}
	return c.org(http.StatusOK, org)
}

// putOrg answers PUT orgs/{org}: it creates the org or replaces what a caller
// may write about it.
func (c *call) putOrg() error {
	onlyNew, err := c.onlyNew()
	if err != nil {
		return err
	}
	return c.writeOrg(func(in *orgInput, o *keyring.Org, exists bool) error {
		if exists && onlyNew {
			return refusal(preconditionFailed, "There is an org of this name already, and If-None-Match: * asks for a new one.")
		}
		return in.replace(o)
	})
}

// onlyNew reports whether the caller asks for a new org.
func (c *call) onlyNew() (bool, error) {
	values := c.r.Header.Values("If-None-Match")
	if len(values) > 1 || len(values) == 1 && values[0] != "*" {
		return false, refusal(invalidPrecondition, "If-None-Match takes * here, which asks for a new org; to change one that you know, send its ETag in If-Match.")
	}
	return len(values) == 1, nil
}

// patchOrg answers PATCH orgs/{org}.
func (c *call) patchOrg() error {
	return c.writeOrg(func(in *orgInput, o *keyring.Org, exists bool) error {
		if !exists {
			return fmt.Errorf("org %w; PUT creates one", keyring.ErrNotFound)
		}
		return in.edit(o)
	})
}

func (c *call) writeOrg(edit func(in *orgInput, o *keyring.Org, exists bool) error) error {
	revision, mustExist, err := c.ifMatch()
	if err != nil {
		return err
	}
	var in orgInput
	if err := c.decode(&in); err != nil {
		return err
	}
	edits := keyring.Edits{AllowAnyone: in.AllowAnyone.value}
	org, created, err := c.keys.PutOrg(c.r.Context(), c.vars["org"], revision, edits, func(o *keyring.Org) error {
		exists := o.Revision > 0
		if mustExist && !exists {
			return refusal(preconditionFailed, "There is no org of this name, and If-Match: * asks for one.")
		}
		if err := checkTier(in.Tier, c.app); err != nil {
			return err
		}
		return edit(&in, o, exists)
	})
	if err != nil {
		return err
	}
	if created {
		c.w.Header().Set("Location", root+"orgs/"+org.Name)
		return c.org(http.StatusCreated, org)
	}
	return c.org(http.StatusOK, org)
}

func (c *call) suspendOrg() error { return c.setOrgState(keyring.StateSuspended) }
func (c *call) resumeOrg() error  { return c.setOrgState(keyring.StateActive) }

func (c *call) setOrgState(to keyring.State) error {
	revision, err := c.revision()
	if err != nil {
		return err
	}
	if err := c.noBody(); err != nil {
		return err
	}
	org, err := c.keys.SetOrgState(c.r.Context(), c.vars["org"], revision, to)
	if err != nil {
		return err
	}
	return c.org(http.StatusOK, org)
}

// org answers with one org.
func (c *call) org(status int, org *keyring.Org) error {
	c.tellOrg(org)
	return c.record(status, org.Revision, viewOrg(org))
}
