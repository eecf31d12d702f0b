package adminapi

import "net/http"

// reseal answers POST reseal: it seals every shared secret with the first
// master key, so that the others are not needed any more.
func (c *call) reseal() error {
	if err := c.noBody(); err != nil {
		return err
	}
	resealed, err := c.keys.Reseal(c.r.Context(), c.app.Sealer())
	if err != nil {
		return err
	}
	c.write(http.StatusOK, "application/json", struct {
		Resealed int `json:"resealed"`
	}{resealed})
	return nil
}
