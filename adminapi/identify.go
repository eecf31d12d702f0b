package adminapi

import (
	"net/http"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// identifyInput is the body of POST identify.
type identifyInput struct {
	Token  member[text] `json:"token"`
	Revoke member[bool] `json:"revoke"`
}

// identify answers POST identify: whose token was found somewhere, and, if
// asked, an end to it.
func (c *call) identify() error {
	var in identifyInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if len(in.Token.value) == 0 || len(in.Token.value) > keyring.MaxTokenLen {
		return badField("token", "must be the token that was found, 1 to %d characters", keyring.MaxTokenLen)
	}
	key, credential, err := c.keys.Identify(c.r.Context(), keyring.NewSecret(string(in.Token.value)))
	if err != nil {
		return err
	}
	if in.Revoke.value && !key.State.Final() {
		if key, err = c.keys.RevokeLeaked(c.r.Context(), key.ID); err != nil {
			return err
		}
		c.tellKey(key, credential)
	}
	c.write(http.StatusOK, "application/json", struct {
		Key        keyView `json:"key"`
		Credential uint32  `json:"credential"`
		Revoked    bool    `json:"revoked"`
	}{c.usedKey(key), credential, key.State.Final()})
	return nil
}
