package caddyapikey_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/caddyapikey"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

const benchToken = "ck_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3aB4cD5eF6"

// everyField returns a text in every kind of field.
func everyField(text string) []zapcore.Field {
	object := zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		enc.AddString("string", text)
		enc.AddByteString("bytes", []byte(text))
		enc.AddBinary("binary", []byte(text))
		return errors.Join(
			enc.AddReflected("map", map[string]any{text: text, "list": []string{text}}),
			enc.AddArray("array", caddyhttp.LoggableStringArray{text, text}),
			enc.AddArray("objects", zapcore.ArrayMarshalerFunc(func(array zapcore.ArrayEncoder) error {
				array.AppendString(text)
				array.AppendByteString([]byte(text))
				return array.AppendObject(zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
					enc.AddString(text, text)
					return nil
				}))
			})))
	})
	raw, err := json.Marshal(text)
	if err != nil {
		raw = []byte("null")
	}
	return []zapcore.Field{
		zap.String("string", text),
		zap.String(text, "key"),
		zap.Error(errors.New(text)),
		zap.Stringer("stringer", caddyhttpError(text)),
		zap.ByteString("bytes", []byte(text)),
		zap.Binary("binary", []byte(text)),
		zap.Strings("strings", []string{text}),
		zap.Any("any", struct{ Field string }{text}),
		zap.Any("raw", json.RawMessage(strings.ReplaceAll(string(raw), "_", `\u005f`))),
		zap.Object("object", object),
		zap.Inline(object),
		zap.Dict("dict", zap.String("string", text), zap.Object("object", object)),
		zap.Namespace("space"),
		zap.String("inside", text),
	}
}

type caddyhttpError string

func (e caddyhttpError) String() string { return string(e) }

// encode logs fields, half of them given to the logger beforehand.
func encode(t *testing.T, enc zapcore.Encoder, message string, fields []zapcore.Field) string {
	t.Helper()
	enc = enc.Clone()
	for _, f := range fields[:len(fields)/2] {
		f.AddTo(enc)
	}
	line, err := enc.EncodeEntry(zapcore.Entry{Time: time.Unix(0, 0), Message: message, LoggerName: message, Stack: message}, fields[len(fields)/2:])
	if err != nil {
		t.Fatal(err)
	}
	return line.String()
}

// The encoders that the tests go through: what is wrapped, and in how far its
// lines are JSON.
func testEncoders(tb testing.TB) map[string]*caddyapikey.RedactEncoder {
	encoders := make(map[string]*caddyapikey.RedactEncoder)
	for name, wrap := range map[string]string{
		"json":    `{"format":"json"}`,
		"console": `{"format":"console"}`,
		"append":  `{"format":"append","wrap":{"format":"json"},"fields":{"a":"b"}}`,
		"filter":  `{"format":"filter","wrap":{"format":"json"},"fields":{"object>string":{"filter":"delete"}}}`,
		"itself":  `{"format":"redact_api_keys","wrap":{"format":"json"}}`,
	} {
		encoders[name] = provisioned(tb, &caddyapikey.RedactEncoder{WrappedRaw: json.RawMessage(wrap), Headers: []string{"X-API-Key"}, Query: []string{"api_key"}})
	}
	return encoders
}

func checkLine(t *testing.T, name, line string, secrets *rig.Secrets) {
	t.Helper()
	if found := secrets.Find([]byte(line)); len(found) > 0 {
		t.Errorf("%s: %v\n%s", name, found, line)
	}
	if name != "console" && !json.Valid([]byte(line)) {
		t.Errorf("%s: this is not JSON\n%s", name, line)
	}
	if !strings.Contains(line, "[redacted]") {
		t.Errorf("%s: nothing redacted\n%s", name, line)
	}
}

func TestTokenInEveryField(t *testing.T) {
	var secrets rig.Secrets
	secrets.Add("token", benchToken)
	for name, enc := range testEncoders(t) {
		checkLine(t, name, encode(t, enc, "a "+benchToken, everyField("a "+benchToken+" b")), &secrets)
	}
}

func TestHeaderInEveryField(t *testing.T) {
	const key = `odd"key\of%41any&kind`
	var secrets rig.Secrets
	secrets.Add("key", key)
	header := http.Header{"X-Api-Key": {key}, "Referer": {"https://x/?api_key=odd%22key%5Cof%2541any%26kind"}, "Authorization": {"Bearer " + key}}
	odd := http.Header{"x-API_key": {key}}
	r := &http.Request{Header: header, RequestURI: "/?api_key=odd%22key%5Cof%2541any%26kind"}
	fields := []zapcore.Field{
		zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r, ShouldLogCredentials: true}),
		zap.String("X-Api-Key", key),
		zap.Any("headers", header),
		zap.Any("deep", []any{map[string]any{"a": odd}}),
		zap.Any("x-api-key", map[string]any{"values": []string{key}}),
		zap.Strings("X-Api-Key", []string{key}),
		zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r}),
		zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: header, ShouldLogCredentials: true}),
		zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: odd}),
		zap.ByteString("X-Api-Key", []byte(key)),
		zap.Binary("X-Api-Key", []byte(key)),
		zap.Any("headers", header),
		zap.Error(fmt.Errorf("for X-Api-Key: %s", "?api_key=secret")),
	}
	for name, enc := range testEncoders(t) {
		checkLine(t, name, encode(t, enc, "X-Api-Key: "+key, fields), &secrets)
	}
}

// Handlers that come later, as on a reload, are known to encoders at once.
func TestNamesAreLearnedLate(t *testing.T) {
	enc := provisioned(t, new(caddyapikey.RedactEncoder))
	fields := []zapcore.Field{zap.String("X-Late", "a secret"), zap.String("uri", "/?late=secret")}
	if line := encode(t, enc, "", fields); strings.Count(line, "secret") != 2 {
		t.Errorf("redacted without a reason\n%s", line)
	}
	rig.New(t, "", "api_key {\nfrom header X-Late\nfrom query late\nrequire *\n}")
	if line := encode(t, enc, "", fields); strings.Contains(line, "secret") {
		t.Errorf("not redacted\n%s", line)
	}
}

// Nothing is redacted from a line without keys, and it costs one allocation: the
// clone that every request's logger has.
func TestHarmlessLine(t *testing.T) {
	enc := testEncoders(t)["json"]
	r, response := browserCall(t)
	delete(response, "Vary")
	fields := func() []zapcore.Field {
		return []zapcore.Field{
			zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r}),
			zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: response}),
		}
	}
	if line := encode(t, enc, "handled request", fields()); strings.Contains(line, "[redacted]") {
		t.Errorf("redacted\n%s", line)
	}
	plain := testing.AllocsPerRun(100, func() { encodeLine(t, enc.Encoder, r, response) })
	redacted := testing.AllocsPerRun(100, func() { encodeLine(t, enc, r, response) })
	if redacted > plain+1 {
		t.Errorf("%v allocations, %v without redaction", redacted, plain)
	}
}

// Whatever stands around them, tokens do not survive, a line is the same
// whatever key stands in a named place, and JSON stays JSON.
func FuzzRedactedLine(f *testing.F) {
	encoders := testEncoders(f)
	names := slices.Sorted(maps.Keys(encoders))
	f.Add("", "", "Jd7Qm2xWk9RtVb4N")
	f.Add("\\n", "\"", `q"u'o\te%41+z;,<>~`)
	f.Add("%25", "%3D\x00\xff", "\\\\\\\\\\\\\\\\\"")
	f.Add("api_key=", "&k=_", "=========")
	f.Fuzz(func(t *testing.T, before, after, key string) {
		key = strings.Map(func(r rune) rune {
			if r <= ' ' || r >= 0x7f || r == '&' {
				return -1
			}
			return r
		}, key)
		var secrets rig.Secrets
		secrets.Add("token", benchToken)
		if _, isToken := keyring.HintOf(key); key == "" || key == "REDACTED" || isToken {
			key = "none" // nothing to hide, or what Caddy has put there, or what has a hint to show
		}
		with := func(key string) []zapcore.Field {
			return append(everyField(before+benchToken+after),
				zap.Strings("X-Api-Key", []string{key}), zap.String("uri", "/?api_key="+key+"&"+after))
		}
		// One encoder for each input: an input that takes long is a failure, too.
		name := names[(len(before)+len(after)+len(key))%len(names)]
		line := encode(t, encoders[name], before+benchToken+after, with(key))
		checkLine(t, name, line, &secrets)
		if other := encode(t, encoders[name], before+benchToken+after, with("another")); line != other {
			t.Errorf("%s: the key %q shows\n%s\n%s", name, key, line, other)
		}
	})
}
