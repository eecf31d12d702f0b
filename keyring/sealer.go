package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Sealer encrypts shared secrets for the store, with master keys that are kept
// elsewhere: whoever has the file or a backup alone has no secret. The first
// master key seals, every one of them opens, so that one can be replaced
// without a moment in which neither fits. It is safe for concurrent use.
type Sealer struct{ keys []masterKey }

type masterKey struct {
	id   [sealIDLen]byte
	aead cipher.AEAD
}

// A sealed secret is a version, the id of the master key, and what AES-256-GCM
// made of the secret, with its random nonce before it (NIST SP 800-38D). The
// additional data binds it to its key, its credential and its purpose: a record
// whose secret was swapped for another's does not open.
const (
	sealVersion   = 1
	sealIDLen     = 8
	sealOverhead  = 1 + sealIDLen + 12 + 16
	sealPurpose   = "api_keys shared secret\x00"
	masterKeyLen  = 32
	maxMasterKeys = 8
)

// NewMasterKey makes the text of a new master key: 32 random bytes in base64.
func NewMasterKey() Secret {
	var key [masterKeyLen]byte
	rand.Read(key[:]) // never fails
	return Secret{base64.StdEncoding.EncodeToString(key[:])}
}

// NewSealer returns a sealer that seals with the first of the master keys and
// opens with all. Each is the text of 32 bytes in base64 or hex, as `openssl
// rand -base64 32` prints it.
func NewSealer(texts ...Secret) (*Sealer, error) {
	if len(texts) == 0 || len(texts) > maxMasterKeys {
		return nil, invalid("master_key", "%d master keys; give 1 to %d", len(texts), maxMasterKeys)
	}
	s := new(Sealer)
	for i, text := range texts {
		raw, err := parseMasterKey(text.text)
		if err != nil {
			return nil, invalid("master_key", "master key %d %s; write 32 random bytes in base64 or hex, as `openssl rand -base64 32` prints them", i+1, err)
		}
		key, err := newMasterKey(raw)
		if err != nil {
			return nil, err
		}
		for _, other := range s.keys {
			if other.id == key.id {
				return nil, invalid("master_key", "master key %d is given twice", i+1)
			}
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

func parseMasterKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, errors.New("is empty")
	}
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if raw, err := decode(text); err == nil && len(raw) == masterKeyLen {
			return raw, nil
		}
	}
	return nil, fmt.Errorf("is not 32 bytes in base64 or hex (it has %d characters)", len(text))
}

func newMasterKey(raw []byte) (masterKey, error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return masterKey{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return masterKey{}, err
	}
	m := masterKey{aead: aead}
	id := sha256.Sum256(append([]byte("api_keys master key id\x00"), raw...))
	copy(m.id[:], id[:])
	return m, nil
}

// seal encrypts the secret of credential n of a key.
func (s *Sealer) seal(secret Secret, keyID string, n uint32) []byte {
	m := &s.keys[0]
	sealed := append([]byte{sealVersion}, m.id[:]...)
	return m.aead.Seal(sealed, nil, bytesOf(secret.text), sealData(nil, keyID, n))
}

// open decrypts what seal made for credential n of a key. Its errors wrap
// ErrSealed.
func (s *Sealer) open(dst, sealed []byte, keyID string, n uint32) ([]byte, error) {
	if len(sealed) < sealOverhead || sealed[0] != sealVersion {
		return nil, fmt.Errorf("%w: it is damaged, or of a newer version", ErrSealed)
	}
	if s == nil {
		return nil, fmt.Errorf("%w: there is no master key", ErrSealed)
	}
	for i := range s.keys {
		m := &s.keys[i]
		if string(sealed[1:1+sealIDLen]) != string(m.id[:]) {
			continue
		}
		var data [128]byte
		secret, err := m.aead.Open(dst, nil, sealed[1+sealIDLen:], sealData(data[:0], keyID, n))
		if err != nil {
			return nil, fmt.Errorf("%w: the record was changed", ErrSealed)
		}
		return secret, nil
	}
	return nil, fmt.Errorf("%w: it was sealed with another master key", ErrSealed)
}

// current reports whether a sealed secret was sealed with the first master key.
func (s *Sealer) current(sealed []byte) bool {
	return len(sealed) >= sealOverhead && string(sealed[1:1+sealIDLen]) == string(s.keys[0].id[:])
}

// sealData appends the additional data of a sealed secret.
func sealData(dst []byte, keyID string, n uint32) []byte {
	dst = append(dst, sealPurpose...)
	dst = append(dst, keyID...)
	return strconv.AppendUint(append(dst, 0), uint64(n), 10)
}
