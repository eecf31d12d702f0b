//go:build linux

package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
)

// signing is a client that signs its requests, and keeps those that were let in
// to send them again.
type signing struct {
	s        *server
	id       string // of its key
	signer   *hmacsig.MessageSigner
	spent    []*http.Request
	repeated int
}

func (s *server) newSigning(name string) *signing {
	s.t.Helper()
	r := s.mustManage("POST", "/keys", fmt.Sprintf(`{"name":%q,"scopes":["contacts:read"],"credential":{"kind":"shared_secret"}}`, name))
	var made struct {
		Key    keyView
		Secret string
	}
	if err := json.Unmarshal(r.body, &made); err != nil {
		s.t.Fatal(err)
	}
	signer, err := hmacsig.NewSecretSigner(made.Key.ID, []byte(made.Secret))
	if err != nil {
		s.t.Fatal(err)
	}
	return &signing{s: s, id: made.Key.ID, signer: signer}
}

// send sends a request that is signed at the given time, and returns the status.
func (c *signing) send(at time.Time) int {
	c.s.t.Helper()
	req, err := http.NewRequest("GET", "http://"+c.s.site+"/v1/contacts", nil)
	if err == nil {
		_, err = c.signer.SignAt(req, at)
	}
	if err != nil {
		c.s.t.Fatal(err)
	}
	status, err := statusOf(req)
	if err == nil && status == http.StatusOK {
		c.spent = append(c.spent, req)
	}
	return status
}

// repeat sends the last requests that were let in again, all of them for 0, and
// returns how many are let in a second time.
func (c *signing) repeat(last int) (accepted int) {
	c.s.t.Helper()
	spent := c.spent
	if last > 0 {
		spent = spent[max(0, len(spent)-last):]
	}
	for _, req := range spent {
		var status int
		if err := again(func() (err error) { status, err = statusOf(req); return err }); err != nil {
			c.s.t.Fatal(err)
		}
		c.repeated++
		// 401 for the nonce or the time, 503 where it cannot be told.
		if status != http.StatusUnauthorized && status != http.StatusServiceUnavailable {
			accepted++
			c.s.t.Errorf("a signed request sent again: status %d", status)
		}
	}
	return accepted
}

func statusOf(req *http.Request) (int, error) {
	resp, err := oneShot.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}
