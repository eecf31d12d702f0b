package adminapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxBody bounds every body but an import's, in bytes.
const maxBody = 64 << 10

// strict is how every body is read. Names must be exactly those of the fields,
// each at most once; text must be valid UTF-8; these two are the package's
// defaults, unlike encoding/json's.
var strict = json.JoinOptions(json.RejectUnknownMembers(true))

// checkContentType asks for JSON wherever there is a body, and from every
// browser: a page of another site can send a form or plain text without asking
// first, but not this type.
func checkContentType(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	values := r.Header.Values("Content-Type")
	if len(values) == 0 && r.ContentLength == 0 && !fromBrowser(r) {
		return nil
	}
	if len(values) == 1 {
		mediaType, params, err := mime.ParseMediaType(values[0])
		charset, hasCharset := params["charset"]
		if err == nil && mediaType == "application/json" && (!hasCharset || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return refusal(notJSON, "Send the header Content-Type: application/json (curl: -H 'Content-Type: application/json').")
}

func fromBrowser(r *http.Request) bool {
	for _, name := range []string{"Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// decode reads the body, one JSON object, into v.
func (c *call) decode(v any) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	return decodeObject(body, v)
}

// decodeOptional is decode for a body that may be left out.
func (c *call) decodeOptional(v any) error {
	body, err := c.body()
	if err != nil || len(body) == 0 {
		return err
	}
	return decodeObject(body, v)
}

// noBody refuses a body with anything in it: what it asks for would not happen.
func (c *call) noBody() error { return c.decodeOptional(new(struct{})) }

func (c *call) body() ([]byte, error) {
	if c.r.ContentLength > maxBody {
		return nil, bodyTooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, maxBody))
	if err != nil {
		return nil, bodyError(err)
	}
	return body, nil
}

func bodyTooLarge() error {
	return refusal(tooLarge, "The body may have %d bytes; existing tokens in bulk go to POST /api_keys/import.", maxBody)
}

// decodeObject reads one JSON object into v.
func decodeObject(body []byte, v any) error {
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return refusal(invalidBody, "The body must be one JSON object, {…}.")
	}
	if err := json.Unmarshal(body, v, strict); err != nil {
		return bodyError(err)
	}
	return nil
}

// member is a member of an object that may be left out, but not be null: null
// would be one more way of saying "nothing", and a list that limits a key must
// not become nothing by accident.
type member[T any] struct {
	present bool
	value   T
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (m *member[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == 'n' {
		return misfit("null is not possible here; " + insteadOfNull(reflect.TypeFor[T]()))
	}
	m.present = true
	return json.UnmarshalDecode(dec, &m.value)
}

func insteadOfNull(t reflect.Type) string {
	if t == reflect.TypeFor[timespan]() {
		return "leave the field out"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "write [] for an empty list, or leave the field out"
	case reflect.Map:
		return "write {} for none, or leave the field out"
	case reflect.String:
		return `write "" for none, or leave the field out`
	}
	return "leave the field out"
}

// nullable is a member of an object that may be left out or be null.
type nullable[T any] struct {
	present bool
	value   T // its zero value for null
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (m *nullable[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	m.present = true
	if dec.PeekKind() == 'n' {
		return dec.SkipValue()
	}
	return json.UnmarshalDecode(dec, &m.value)
}

// text is a JSON string and nothing else; null is none.
type text string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *text) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '"' {
		return misfit("must be a text in quotes")
	}
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	*t = text(token.String())
	return nil
}

// timespan is a duration as it is written.
type timespan text

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *timespan) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '"' {
		return misfit(`must be a duration in quotes with its unit, such as "7d" or "12h"`)
	}
	return (*text)(s).UnmarshalJSONFrom(dec)
}

// misfit says what is wrong with a value, without repeating it.
type misfit string

func (m misfit) Error() string { return string(m) }

// bodyError turns an error of reading or decoding into a refusal that names the
// field and never repeats what the body holds: it could be a secret.
func bodyError(err error) error {
	var (
		large     *http.MaxBytesError
		syntactic *jsontext.SyntacticError
		semantic  *json.SemanticError
		p         *problem
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &large):
		return bodyTooLarge()
	case errors.As(err, &syntactic) && errors.Is(err, jsontext.ErrDuplicateName):
		return badField(fieldName(syntactic.JSONPointer), "stands there twice; write it once")
	case errors.As(err, &syntactic):
		return refusal(invalidBody, "The body is not valid JSON (RFC 8259), at byte %d. JSON has double quotes; in a shell, put single quotes around all of it.", syntactic.ByteOffset+1)
	case errors.As(err, &semantic):
		return badValue(semantic)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refusal(slowBody, "Nothing was changed: the rest of the body did not come in time.")
	}
	return refusal(invalidBody, "The body ends too early, or could not be read to its end.")
}

// badValue explains a value that is JSON but not what the field takes.
func badValue(err *json.SemanticError) error {
	field := fieldName(err.JSONPointer)
	if errors.Is(err, json.ErrUnknownName) {
		name := err.JSONPointer.LastToken()
		if reason, ok := serverOwned[name]; ok {
			return badField(field, "is set by the server; %s", reason)
		}
		if hint := nameHint(name); hint != "" {
			return badField(field, "there is no such field here; %s", hint)
		}
		return badField(field, "there is no such field here; names are matched exactly, lower case included")
	}
	var reason misfit
	if errors.As(err, &reason) {
		return badField(field, "%s", string(reason))
	}
	want := "of another type"
	if err.GoType != nil {
		switch err.GoType.Kind() {
		case reflect.Bool:
			want = "true or false"
		case reflect.Slice:
			want = "a list, [ … ]"
		case reflect.Map, reflect.Struct:
			want = "an object, { … }"
		}
	}
	return badField(field, "must be %s", want)
}

// serverOwned are fields that answers have and bodies must not, with the way
// to what the caller probably wants.
var serverOwned = map[string]string{
	"id":          "leave it out",
	"created_at":  "leave it out",
	"updated_at":  "leave it out",
	"revision":    "leave it out, and send the ETag in If-Match instead",
	"state":       "use POST …/suspend, …/resume or …/revoke",
	"credentials": "use …/credentials and …/rotate",
	"rotation":    "use …/rotate",
	"n":           "leave it out",
	"hint":        "leave it out",
	"ended_at":    "use DELETE …/credentials/{n}",
}

// fieldName turns a JSON pointer into the way in which fields are named
// everywhere: keys[3].scopes[0].
func fieldName(pointer jsontext.Pointer) string {
	var name strings.Builder
	for token := range pointer.Tokens() {
		if token != "" && strings.Trim(token, "0123456789") == "" && name.Len() > 0 && len(token) < 10 {
			name.WriteString("[" + token + "]")
			continue
		}
		if name.Len() > 0 {
			name.WriteByte('.')
		}
		if token = shownName(token); token == "" {
			token = "…"
		}
		name.WriteString(token)
	}
	return name.String()
}
