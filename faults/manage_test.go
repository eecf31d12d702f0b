//go:build linux

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// reply is the answer to a management request.
type reply struct {
	status int
	body   []byte
	header http.Header
}

// keyView is what these tests read of a key.
type keyView struct {
	ID          string
	Name        string
	State       string
	Revision    uint64
	Credentials []struct{ N int }
	Rotation    *struct{ New int }
}

// manage sends a management request; body is JSON, or "" for none. An error
// means that there was no answer, and so that the outcome is not known.
func (s *server) manage(ctx context.Context, method, path, body string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.admin+"/api_keys"+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, text, resp.Header}, err
}

// create creates a key that may read.
func (s *server) create(ctx context.Context, name string) (keyView, string, reply, error) {
	r, err := s.manage(ctx, "POST", "/keys", fmt.Sprintf(`{"name":%q,"scopes":["contacts:read"]}`, name))
	var made struct {
		Key   keyView
		Token string
	}
	if err == nil && r.status == http.StatusCreated {
		err = json.Unmarshal(r.body, &made)
	}
	return made.Key, made.Token, r, err
}

// again repeats a request that had no answer: a reload, also a rejected one,
// replaces the admin server, and with it go connections of the old one.
func again(request func() error) (err error) {
	for range 5 {
		if err = request(); err == nil {
			return nil
		}
	}
	return err
}

// mustCreate is create where nothing is broken.
func (s *server) mustCreate(name string) (key keyView, token string) {
	s.t.Helper()
	var r reply
	err := again(func() (err error) {
		key, token, r, err = s.create(context.Background(), name)
		return err
	})
	if err != nil || r.status != http.StatusCreated {
		s.t.Fatalf("creating %s: %d %s %v", name, r.status, r.body, err)
	}
	return key, token
}

// mustManage is manage where nothing is broken.
func (s *server) mustManage(method, path, body string) (r reply) {
	s.t.Helper()
	err := again(func() (err error) {
		r, err = s.manage(context.Background(), method, path, body)
		return err
	})
	if err != nil || r.status >= 300 {
		s.t.Fatalf("%s %s: %d %s %v", method, path, r.status, r.body, err)
	}
	return r
}

// revoked creates a key and revokes it, for a token that must be refused.
func (s *server) revoked(name string) string {
	s.t.Helper()
	key, token := s.mustCreate(name)
	s.mustManage("POST", "/keys/"+key.ID+"/revoke?force=true", "")
	return token
}

// get reads one key. found is false where there is none.
func (s *server) get(id string) (key keyView, found bool, err error) {
	r, err := s.manage(context.Background(), "GET", "/keys/"+id, "")
	switch {
	case err != nil:
		return key, false, err
	case r.status == http.StatusNotFound:
		return key, false, nil
	case r.status != http.StatusOK:
		return key, false, fmt.Errorf("reading %s: %d %s", id, r.status, r.body)
	}
	return key, true, json.Unmarshal(r.body, &key)
}

// list reads all keys that query selects.
func (s *server) list(query string) ([]keyView, error) {
	var all []keyView
	after := ""
	for {
		path := "/keys?limit=500" + query
		if after != "" {
			path += "&after=" + url.QueryEscape(after)
		}
		r, err := s.manage(context.Background(), "GET", path, "")
		if err != nil {
			return nil, err
		}
		if r.status != http.StatusOK {
			return nil, fmt.Errorf("listing: %d %s", r.status, r.body)
		}
		var page struct {
			Keys []keyView
			Next *string
		}
		if err := json.Unmarshal(r.body, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Keys...)
		if page.Next == nil {
			return all, nil
		}
		after = *page.Next
	}
}

// wantProblem checks a refusal of a management request: problem+json with a
// cause that says all of texts.
func wantProblem(r reply, status int, texts ...string) error {
	var p struct{ Type, Title, Detail string }
	if err := json.Unmarshal(r.body, &p); err != nil || r.header.Get("Content-Type") != "application/problem+json" {
		return fmt.Errorf("no problem document: %d %s", r.status, r.body)
	}
	var errs []error
	if r.status != status {
		errs = append(errs, fmt.Errorf("status %d, want %d", r.status, status))
	}
	for _, text := range texts {
		if !strings.Contains(p.Detail, text) {
			errs = append(errs, fmt.Errorf("the detail does not say %q", text))
		}
	}
	if len(errs) > 0 {
		errs = append(errs, fmt.Errorf("%d %s", r.status, bytes.TrimSpace(r.body)))
	}
	return errors.Join(errs...)
}

// tokenIn returns the token of an answer that made one.
func tokenIn(t testing.TB, r reply) string {
	t.Helper()
	var made struct{ Token string }
	if err := json.Unmarshal(r.body, &made); err != nil || made.Token == "" {
		t.Fatalf("no token: %d, %v", r.status, err)
	}
	return made.Token
}
