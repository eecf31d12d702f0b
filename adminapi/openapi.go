package adminapi

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var openAPIDocument []byte

// openAPI answers GET openapi.json with the OpenAPI 3.1 description of this API.
func (c *call) openAPI() error {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(openAPIDocument) // a client that has gone is no fault
	return nil
}
