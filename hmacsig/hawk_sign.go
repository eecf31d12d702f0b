package hmacsig

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// HawkSigner signs requests with one key, as Hawk 1.1. It can be used by several
// goroutines at once.
type HawkSigner struct {
	ID  string // names the key to the server
	Key Key    // of SecretKey or LegacyHawkKey

	// Ext is signed and sent with each request, for services that ask for it,
	// such as the id of an organization.
	Ext string

	// RequireAnswer makes an answer without a good Server-Authorization field an
	// error. Without it such a field is checked where there is one.
	RequireAnswer bool
}

// Sign is SignAt with the present as the time, for requests that are sent by
// other means than a [Transport].
func (s *HawkSigner) Sign(req *http.Request) error {
	_, err := s.SignAt(req, time.Now())
	return err
}

// SignAt sets req's Authorization field, with a nonce of at least 128 random bits
// and, if there is a body, its hash. See [Signer].
func (s *HawkSigner) SignAt(req *http.Request, now time.Time) (Exchange, error) {
	return s.sign(req, strconv.FormatInt(now.Unix(), 10), rand.Text())
}

func (s *HawkSigner) sign(req *http.Request, ts, nonce string) (Exchange, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	if len(req.Header["Authorization"]) > 0 {
		return nil, errors.New("hmacsig: the request has other credentials")
	}
	method, authority := req.Method, req.Host
	if method == "" {
		method = http.MethodGet
	}
	if authority == "" {
		authority = req.URL.Host
	}
	r := &Request{Method: method, Scheme: req.URL.Scheme, Authority: authority, Target: req.URL.RequestURI()}
	a, err := r.signable("header")
	if err != nil {
		return nil, err
	}
	a.ts, a.nonce, a.ext = ts, nonce, s.Ext
	if a.hash, err = s.hashBody(req); err != nil {
		return nil, err
	}

	value := `Hawk id="` + s.ID + `", ts="` + ts + `", nonce="` + nonce
	if a.hash != "" {
		value += `", hash="` + a.hash
	}
	if s.Ext != "" {
		value += `", ext="` + s.Ext
	}
	value += `", mac="` + a.mac(s.Key) + `"`
	if len(value) > MaxHawk {
		return nil, errors.New("hmacsig: id and ext are too long for a Hawk field")
	}
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Authorization", value)
	return &hawkExchange{key: s.Key, signed: a, require: s.RequireAnswer}, nil
}

func (s *HawkSigner) validate() error {
	switch {
	case len(s.Key.secret) == 0:
		return errors.New("hmacsig: Hawk needs the key of a shared secret")
	case s.ID == "" || !isHawkText(s.ID):
		return errors.New(`hmacsig: a Hawk id is printable ASCII without " and \`)
	case !isHawkText(s.Ext):
		return errHawkExt
	}
	return nil
}

// signable returns what a signature of r covers of it, with the host.
func (r *Request) signable(kind string) (hawkArtifacts, error) {
	a, err := r.hawkArtifacts(kind)
	if err != nil {
		return a, err
	}
	host, err := parseHawkHost(r.Authority, r.Scheme)
	a.host, a.port = host.name, host.port
	return a, err
}

// hashBody returns the payload hash, or "" if there is no body.
func (s *HawkSigner) hashBody(req *http.Request) (string, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return "", nil
	}
	if req.GetBody == nil {
		return "", errors.New("hmacsig: the body has to be read twice, and the request has no GetBody")
	}
	if len(req.Header["Content-Type"]) > 1 {
		return "", errors.New("hmacsig: the request has two content types")
	}
	body, err := req.GetBody()
	if err != nil {
		return "", err
	}
	defer body.Close()
	h := NewHawkHash(s.Key, req.Header.Get("Content-Type"))
	if _, err := io.Copy(h, body); err != nil {
		return "", err
	}
	return h.Sum(), nil
}

// Bewit returns u with a bewit: whoever has it may GET it until expires, as often
// as they like. It fails on a URL that has one already.
func (s *HawkSigner) Bewit(u *url.URL, expires time.Time) (*url.URL, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	if _, _, err := cutBewit(u.RequestURI()); !errors.Is(err, ErrNotHawk) {
		return nil, errors.New("hmacsig: the URL has a bewit")
	}
	r := &Request{Method: http.MethodGet, Scheme: u.Scheme, Authority: u.Host, Target: u.RequestURI()}
	a, err := r.signable("bewit")
	if err != nil {
		return nil, err
	}
	a.ts, a.ext = strconv.FormatInt(expires.Unix(), 10), s.Ext
	bewit := "bewit=" + bewitText(s.ID, a.ts, a.mac(s.Key), s.Ext)
	signed := *u
	if u.RawQuery != "" || u.ForceQuery {
		bewit = u.RawQuery + "&" + bewit
	}
	signed.RawQuery = bewit
	if len(signed.RequestURI()) > MaxHawk {
		return nil, errors.New("hmacsig: the URL is too long for a bewit")
	}
	return &signed, nil
}

var _ Signer = (*HawkSigner)(nil)
