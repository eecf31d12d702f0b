package hmacsig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"time"
)

// defaultMaxBody bounds a body that has to be held in memory to be signed.
const defaultMaxBody = 8 << 20

// MessageSigner signs requests of a client by RFC 9421. Its fields must not
// change while it signs; with that, it is safe for concurrent use.
type MessageSigner struct {
	// What the server asks for. The default is enough for servers that ask for
	// no more than the default; a nonce is sent in any case.
	Policy MessagePolicy

	// How long a signature may be used; 0 leaves that to the server.
	Lifetime time.Duration

	// How many bytes of a body without GetBody are held in memory, to compute its
	// digest before it is sent. Longer ones are an error. Default: 8 MiB.
	MaxBody int64

	keyID    string
	signBase func(base []byte) ([]byte, error) // holds the key, so that no log prints it
}

// NewSecretSigner returns a signer with a shared secret, for hmac-sha256. The
// secret's bytes are used as they are, see [SecretKey].
func NewSecretSigner(keyID string, secret []byte) (*MessageSigner, error) {
	if _, err := SecretKey(secret); err != nil {
		return nil, err
	}
	secret = bytes.Clone(secret)
	return newMessageSigner(keyID, func(base []byte) ([]byte, error) {
		mac := hmac.New(sha256.New, secret)
		mac.Write(base)
		return mac.Sum(nil), nil
	})
}

// NewPrivateKeySigner returns a signer with a private key, which may live
// elsewhere: ed25519, or ECDSA with P-256. The server holds the public key only.
func NewPrivateKeySigner(keyID string, private crypto.Signer) (*MessageSigner, error) {
	if private == nil {
		return nil, errors.New("hmacsig: the private key is missing")
	}
	switch public := private.Public().(type) {
	case ed25519.PublicKey:
		if _, err := PublicKey(public); err != nil {
			return nil, err
		}
		return newMessageSigner(keyID, func(base []byte) ([]byte, error) {
			return private.Sign(rand.Reader, base, crypto.Hash(0))
		})
	case *ecdsa.PublicKey:
		if _, err := PublicKey(public); err != nil {
			return nil, err
		}
		return newMessageSigner(keyID, func(base []byte) ([]byte, error) {
			sum := sha256.Sum256(base)
			der, err := private.Sign(rand.Reader, sum[:], crypto.SHA256)
			if err != nil {
				return nil, err
			}
			return fixedECDSA(der)
		})
	}
	return nil, errors.New("hmacsig: a private key must be ed25519 or ECDSA with P-256")
}

func newMessageSigner(keyID string, sign func([]byte) ([]byte, error)) (*MessageSigner, error) {
	if keyID == "" || !all(keyID, isPrintable) {
		return nil, errors.New("hmacsig: a key id must be printable ASCII, and not empty")
	}
	return &MessageSigner{keyID: keyID, signBase: sign}, nil
}

// fixedECDSA turns a DER signature into r and s of 32 bytes each, RFC 9421
// section 3.3.4.
func fixedECDSA(der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &sig); err != nil || len(rest) > 0 ||
		sig.R.Sign() < 0 || sig.S.Sign() < 0 || sig.R.BitLen() > 256 || sig.S.BitLen() > 256 {
		return nil, errors.New("hmacsig: the private key made a malformed signature")
	}
	out := make([]byte, 64)
	sig.R.FillBytes(out[:32])
	sig.S.FillBytes(out[32:])
	return out, nil
}

// Sign signs the request as it will be sent, with the present as its time, and
// replaces its Signature, Signature-Input and, with a body, Content-Digest.
// Nothing that is signed may be changed afterwards. It consumes a body that has
// no GetBody and puts an equal one in its place. A request that is sent again
// needs a new signature.
func (s *MessageSigner) Sign(r *http.Request) error {
	_, err := s.SignAt(r, time.Now())
	return err
}

// SignAt is Sign with another time. The Exchange is always nil: answers say
// nothing about themselves. See [Signer].
func (s *MessageSigner) SignAt(r *http.Request, now time.Time) (Exchange, error) {
	return nil, s.sign(r, now)
}

func (s *MessageSigner) sign(r *http.Request, now time.Time) error {
	if err := s.Policy.Validate(); err != nil {
		return err
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	hasBody, err := s.digestBody(r)
	if err != nil {
		return err
	}
	input := s.Policy.input(hasBody)
	input.params = s.params(now)
	parts, err := takeApart(sentRequest(r))
	if err != nil {
		return fmt.Errorf("hmacsig: the request cannot be signed: %w", err)
	}
	base, err := parts.base(input)
	if err != nil {
		return fmt.Errorf("hmacsig: the request cannot be signed: %w", err)
	}
	signature, err := s.signBase(base)
	if err != nil {
		return fmt.Errorf("hmacsig: signing: %w", err)
	}
	r.Header.Set("Signature-Input", string(appendMember([]byte("sig1="), input)))
	r.Header.Set("Signature", string(appendBytes([]byte("sig1="), string(signature))))
	return nil
}

// sentRequest is a client's request as net/http will write it.
func sentRequest(r *http.Request) *Request {
	out := &Request{
		Method: r.Method, Scheme: r.URL.Scheme, Authority: r.Host, Target: r.URL.RequestURI(),
		Header: r.Header, ContentLength: r.ContentLength,
	}
	if out.Method == "" {
		out.Method = http.MethodGet
	}
	if out.Authority == "" {
		out.Authority = r.URL.Host
	}
	return out
}

func (s *MessageSigner) params(now time.Time) []sfParam {
	created := now.Unix()
	text := func(key, value string) sfParam { return sfParam{key, sfValue{kind: sfString, text: value}} }
	number := func(key string, value int64) sfParam { return sfParam{key, sfValue{kind: sfInteger, number: value}} }
	params := []sfParam{number("created", created)}
	if s.Lifetime > 0 {
		// Rounded up: a signature of half a second would never be in force.
		seconds := int64((s.Lifetime + time.Second - 1) / time.Second)
		params = append(params, number("expires", created+seconds))
	}
	params = append(params, text("keyid", s.keyID), text("nonce", rand.Text()))
	if s.Policy.Tag != "" {
		params = append(params, text("tag", s.Policy.Tag))
	}
	return params
}

// digestBody sets Content-Digest if it has to be signed, and reports whether the
// request has a body.
func (s *MessageSigner) digestBody(r *http.Request) (bool, error) {
	hasBody := r.Body != nil && r.Body != http.NoBody
	if !slices.Contains(s.Policy.Components, "content-digest") && (!hasBody || s.Policy.DigestOptional) {
		return hasBody, nil
	}
	body := io.ReadCloser(http.NoBody)
	if hasBody {
		if r.GetBody == nil {
			if err := s.holdBody(r); err != nil {
				return false, err
			}
		}
		var err error
		if body, err = r.GetBody(); err != nil {
			return false, fmt.Errorf("hmacsig: the body: %w", err)
		}
		defer body.Close()
	}
	digest, err := DigestContent(body)
	if err != nil {
		return false, fmt.Errorf("hmacsig: the body: %w", err)
	}
	r.Header.Set("Content-Digest", digest)
	return hasBody, nil
}

// holdBody reads the body into memory and puts it back, with a GetBody.
func (s *MessageSigner) holdBody(r *http.Request) error {
	limit := s.MaxBody
	if limit <= 0 {
		limit = defaultMaxBody
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	r.Body.Close()
	if err != nil {
		return fmt.Errorf("hmacsig: the body: %w", err)
	}
	if int64(len(body)) > limit {
		return fmt.Errorf("hmacsig: the body has no GetBody and is longer than %d bytes", limit)
	}
	r.ContentLength = int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) {
		if len(body) == 0 {
			return http.NoBody, nil
		}
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	r.Body, err = r.GetBody()
	return err
}

var _ Signer = (*MessageSigner)(nil)
