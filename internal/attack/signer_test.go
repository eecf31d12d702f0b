package attack

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// signedSite asks for a signature on everything.
const signedSite = `
api_key {
	signature hawk message {
		body_limit 64KiB
	}
	require * read {
		signed
	}
}
reverse_proxy {$UPSTREAM}`

// signing is a key that signs.
type signing struct {
	s          *scene
	id, secret string
	hawk       *hmacsig.HawkSigner
	message    *hmacsig.MessageSigner
}

// signer loads a site and makes a key that signs with a shared secret.
func (s *scene) signer(site string) signing {
	s.t.Helper()
	s.load(site)
	return s.newSigning(`{"name":"signer","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
}

func (s *scene) newSigning(spec string) signing {
	s.t.Helper()
	var made struct {
		Key    struct{ ID string }
		Secret string
	}
	answer := s.Manage("POST", "/keys", spec)
	if err := json.Unmarshal(answer.Body, &made); err != nil || answer.Status != http.StatusCreated {
		s.t.Fatalf("creating a key that signs: status %d, %v", answer.Status, err)
	}
	k := signing{s: s, id: made.Key.ID, secret: made.Secret}
	if made.Secret != "" {
		s.secrets = append(s.secrets, made.Secret)
		key, err := hmacsig.SecretKey([]byte(made.Secret))
		if err != nil {
			s.t.Fatal(err)
		}
		k.hawk = &hmacsig.HawkSigner{ID: k.id, Key: key}
		if k.message, err = hmacsig.NewSecretSigner(k.id, []byte(made.Secret)); err != nil {
			s.t.Fatal(err)
		}
	}
	return k
}

// schemes calls f for each scheme.
func (k signing) schemes(f func(name string, by hmacsig.Signer)) {
	f("hawk", k.hawk)
	f("message", k.message)
}

// signed returns a request that is signed at a time.
func (k signing) signed(by hmacsig.Signer, method, path, body string, at time.Time) *http.Request {
	k.s.t.Helper()
	req, err := http.NewRequest(method, "http://"+k.s.Site+path, strings.NewReader(body))
	if err != nil {
		k.s.t.Fatal(err)
	}
	if body == "" {
		req.Body, req.GetBody = nil, nil
	}
	if _, err := by.SignAt(req, at); err != nil {
		k.s.t.Fatal(err)
	}
	return req
}

// copyOf sends a copy of a request with a body.
func (s *scene) copyOf(req *http.Request, body string) func() rig.Answer {
	return func() rig.Answer {
		s.t.Helper()
		c := req.Clone(s.t.Context())
		c.Body, c.GetBody = nil, nil
		if body != "" {
			c.Body = io.NopCloser(strings.NewReader(body))
		}
		return s.Do(c)
	}
}

// crafted signs a GET by hand, as no client library would: components in their
// form of Signature-Input, the parameters behind them, and lines of the base.
func (k signing) crafted(path, components, params string, base ...string) func() rig.Answer {
	input := "(" + components + ")" + params
	return k.s.get(path, "Signature-Input: sig1="+input, "Signature: sig1="+k.mac(base, input))
}

// mac signs the lines of a base, with the components and parameters behind them.
func (k signing) mac(base []string, input string) string {
	mac := hmac.New(sha256.New, []byte(k.secret))
	mac.Write([]byte(strings.Join(slices.Concat(base, []string{`"@signature-params": ` + input}), "\n")))
	return ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + ":"
}

// usual are the components that must be covered, the parameters, and the base of
// a GET of /x?a=1.
func (k signing) usual() (components []string, lines map[string]string) {
	return []string{`"@method"`, `"@authority"`, `"@path"`, `"@query"`}, map[string]string{
		`"@method"`: `"@method": GET`, `"@authority"`: `"@authority": ` + k.s.Site, `"@path"`: `"@path": /x`, `"@query"`: `"@query": ?a=1`,
	}
}

func (k signing) params(created int64) string {
	return fmt.Sprintf(`;created=%d;keyid="%s";nonce="%s"`, created, k.id, rand.Text())
}
