package adminapi

import (
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Limits of an import.
const (
	maxImportBody = 64 << 20
	// maxEntry bounds one entry, in bytes: as much as a key of its own may have,
	// and what the decoder reads ahead.
	maxEntry      = 2 * maxBody
	importTimeout = 5 * time.Minute // for the body to arrive
)

// importing lets one import at a time be in memory, over all configurations.
var importing sync.Mutex

// importEntry is a key with a credential made elsewhere.
type importEntry struct {
	keyInput
	Token     member[text] `json:"token"`
	SHA256    member[text] `json:"sha256"`
	Secret    member[text] `json:"secret"`
	PublicKey member[text] `json:"public_key"`
	AllowWeak member[bool] `json:"allow_weak"`
}

// importKeys answers POST import.
func (c *call) importKeys() error {
	if c.r.ContentLength > maxImportBody {
		return importTooLarge()
	}
	if !importing.TryLock() {
		return refusal(busy, "Another import is running. Try again when it is done.")
	}
	defer importing.Unlock()
	// Caddy's admin server gives a body 10 seconds. A connection that cannot be
	// told otherwise keeps them.
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(importTimeout))
	imports, dryRun, err := decodeImport(http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, maxImportBody), c.app)
	if err != nil {
		return importError(err)
	}
	for i := range imports {
		imports[i].Sealer = c.app.Sealer()
	}
	keys, err := c.keys.Import(c.r.Context(), imports, c.app.TokenPrefix(), dryRun)
	if err != nil {
		return err
	}
	if dryRun {
		c.write(http.StatusOK, "application/json", struct {
			DryRun      bool `json:"dry_run"`
			WouldImport int  `json:"would_import"`
		}{true, len(keys)})
		return nil
	}
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = key.ID
	}
	c.tellImport(ids)
	c.write(http.StatusOK, "application/json", struct {
		Imported int      `json:"imported"`
		IDs      []string `json:"ids"`
	}{len(ids), ids})
	return nil
}

func importTooLarge() error {
	return refusal(tooLarge, "An import may have %d bytes, %d keys, and %d bytes for each key. Split it; each part is imported whole or not at all.", maxImportBody, keyring.MaxImport, maxBody)
}

func importError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) || errors.Is(err, errEntryTooLarge) {
		return importTooLarge()
	}
	return bodyError(err)
}

// decodeImport reads {"dry_run":…,"keys":[…]} entry by entry, so that what is
// in memory is the keys and never the text.
func decodeImport(body io.Reader, defined definitions) (imports []keyring.Import, dryRun bool, err error) {
	entries := &entryReader{r: body, left: maxEntry}
	// The entries' own names are checked when they are read, each by itself.
	dec := jsontext.NewDecoder(entries, strict, jsontext.AllowDuplicateNames(true))
	var seen []string
	if dec.PeekKind() != '{' {
		if _, err := dec.ReadToken(); err != nil && err != io.EOF {
			return nil, false, err
		}
		return nil, false, refusal(invalidBody, `The body must be one JSON object, {"keys":[…]}.`)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, false, err
	}
	for dec.PeekKind() == '"' {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, false, err
		}
		name := token.String()
		if slices.Contains(seen, name) {
			return nil, false, badField(name, "stands there twice; write it once")
		}
		seen = append(seen, name)
		switch name {
		case "keys":
			imports, err = decodeEntries(dec, entries, defined)
		case "dry_run":
			var m member[bool]
			err = json.UnmarshalDecode(dec, &m, strict)
			dryRun = m.value
		default:
			err = badField(fieldName(dec.StackPointer()), "there is no such field here; an import has keys and dry_run")
		}
		if err != nil {
			return nil, false, err
		}
	}
	if _, err := dec.ReadToken(); err != nil { // the closing brace
		return nil, false, err
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		if err == nil {
			err = refusal(invalidBody, "Something follows the JSON object.")
		}
		return nil, false, err
	}
	return imports, dryRun, nil
}

func decodeEntries(dec *jsontext.Decoder, entries *entryReader, defined definitions) ([]keyring.Import, error) {
	if dec.PeekKind() != '[' {
		if _, err := dec.ReadToken(); err != nil {
			return nil, err
		}
		return nil, badField("keys", "must be a list, [ … ]")
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	var imports []keyring.Import
	for dec.PeekKind() != ']' {
		if len(imports) == keyring.MaxImport {
			return nil, importTooLarge()
		}
		entries.left = maxEntry
		text, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		imports = append(imports, readEntry(text, defined))
	}
	entries.left = maxEntry
	_, err := dec.ReadToken() // the closing bracket
	return imports, err
}

// readEntry reads one entry. A mistake goes into the result, to be listed with
// those of the other entries.
func readEntry(text jsontext.Value, defined definitions) (in keyring.Import) {
	var entry importEntry
	err := error(badField("", "must be an object, { … }"))
	if text.Kind() == '{' {
		if err = json.Unmarshal(text, &entry, strict); err != nil {
			err = bodyError(err)
		} else {
			in, err = entry.read(defined)
		}
	}
	var p *problem
	if errors.As(err, &p) {
		err = &keyring.InvalidError{Field: p.field, Reason: p.detail}
	}
	if err != nil {
		return keyring.Import{Fault: err}
	}
	return in
}

// read checks one entry as far as HTTP is concerned.
func (e *importEntry) read(defined definitions) (keyring.Import, error) {
	in := keyring.Import{
		Token:     keyring.NewSecret(string(e.Token.value)),
		Secret:    keyring.NewSecret(string(e.Secret.value)),
		AllowWeak: e.AllowWeak.value,
	}
	if e.PublicKey.present {
		var err error
		if in.PublicKey, err = publicKey(e.PublicKey.value); err != nil {
			return in, err
		}
	}
	if err := e.apply(&in.Key, defined); err != nil {
		return in, err
	}
	if e.SHA256.present {
		if len(e.SHA256.value) != 64 {
			return in, badField("sha256", "must be 64 hex digits")
		}
		digest, err := hex.DecodeString(string(e.SHA256.value))
		if err != nil {
			return in, badField("sha256", "must be 64 hex digits")
		}
		in.Digest = (*[32]byte)(digest)
	}
	return in, nil
}

// entryReader refuses to read more than left bytes until left is set again, so
// that no single entry fills the memory.
type entryReader struct {
	r    io.Reader
	left int
}

var errEntryTooLarge = errors.New("an entry is too large")

func (e *entryReader) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, errEntryTooLarge
	}
	n, err := e.r.Read(p[:min(len(p), e.left)])
	e.left -= n
	return n, err
}
