package caddyapikey

import (
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/logging"

	"github.com/caddy-apikey/caddy-apikey/internal/redact"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func init() {
	caddy.RegisterModule(RedactEncoder{})
}

// RedactEncoder keeps API keys out of a log, whatever logs them. It takes out
// tokens wherever they stand, and the value of every header, query parameter
// and cookie that an api_key handler reads keys from. What is left is encoded by
// another encoder.
type RedactEncoder struct {
	// The encoder of the log. Default: `json`, or `console` where Caddy's own
	// default would be that, at a terminal.
	WrappedRaw json.RawMessage `json:"wrap,omitempty" caddy:"namespace=caddy.logging.encoders inline_key=format"`

	// More headers whose values are redacted.
	Headers []string `json:"headers,omitempty"`

	// More query parameters whose values are redacted, wherever in a line
	// `name=value` stands.
	Query []string `json:"query,omitempty"`

	// More prefixes of tokens. Whole tokens are recognised with any prefix; cut
	// and mistyped ones with these, `ck`, and the token_prefix of the
	// configuration.
	Prefixes []string `json:"prefixes,omitempty"`

	redactor    `json:"-"`
	ctx         caddy.Context
	wrapDefault bool
}

// redactor is the encoder itself. It is small: every request gets a clone.
type redactor struct {
	zapcore.Encoder `json:"-"` // the wrapped one

	eachString bool // the wrapped encoder may show values without their names
	rules      *currentRules
}

// currentRules are made anew when there are more names.
type currentRules struct {
	own redact.Names
	now atomic.Pointer[rulesOf]
}

type rulesOf struct {
	*redact.Rules
	known *redact.Names // what they were made of, beside own
}

// CaddyModule returns the Caddy module information.
func (RedactEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.encoders.redact_api_keys",
		New: func() caddy.Module { return new(RedactEncoder) },
	}
}

// checkRedacted checks more names of places whose values are redacted.
func checkRedacted(option string, names []string) error {
	for _, name := range names {
		if !onlyChars(name, "-_.~") {
			return fmt.Errorf("redact_api_keys %s: %q is not a name of letters, digits, '-', '_', '.' and '~'", option, name)
		}
	}
	return nil
}

// Provision sets up the wrapped encoder.
func (e *RedactEncoder) Provision(ctx caddy.Context) error {
	e.ctx = ctx
	for _, prefix := range e.Prefixes {
		if err := keyring.ValidateTokenPrefix(prefix); err != nil {
			return err
		}
	}
	if err := checkRedacted("header", e.Headers); err != nil {
		return err
	}
	if err := checkRedacted("query", e.Query); err != nil {
		return err
	}
	e.rules = &currentRules{own: redact.Names{Headers: e.Headers, Query: e.Query, Prefixes: e.Prefixes}}
	if e.WrappedRaw == nil {
		e.wrapDefault = true
		return e.wrap(new(logging.JSONEncoder))
	}
	wrapped, err := ctx.LoadModule(e, "WrappedRaw")
	if err != nil {
		return fmt.Errorf("loading the wrapped encoder: %v", err)
	}
	e.Encoder = wrapped.(zapcore.Encoder)
	switch e.Encoder.(type) {
	case *logging.JSONEncoder, *logging.ConsoleEncoder:
	default:
		e.eachString = true
	}
	return nil
}

func (e *RedactEncoder) wrap(wrapped interface {
	zapcore.Encoder
	caddy.Provisioner
}) error {
	e.Encoder = wrapped
	return wrapped.Provision(e.ctx)
}

// ConfigureDefaultFormat sets the wrapped encoder where none is configured, as
// Caddy does for a log without a format.
func (e *RedactEncoder) ConfigureDefaultFormat(writer caddy.WriterOpener) error {
	if !e.wrapDefault {
		if wrapped, ok := e.Encoder.(caddy.ConfiguresFormatterDefault); ok {
			return wrapped.ConfigureDefaultFormat(writer)
		}
		return nil
	}
	if caddy.IsWriterStandardStream(writer) && term.IsTerminal(int(os.Stderr.Fd())) {
		return e.wrap(new(logging.ConsoleEncoder))
	}
	return nil
}

// current returns the rules of this moment.
func (c *currentRules) current() *redact.Rules {
	known := knownNames.now.Load()
	if now := c.now.Load(); now != nil && now.known == known {
		return now.Rules
	}
	made := &rulesOf{redact.New(*known, c.own), known}
	c.now.Store(made)
	return made.Rules
}

func (e *redactor) fields() redact.Fields {
	return redact.Fields{ObjectEncoder: e.Encoder, Rules: e.rules.current(), EachString: e.eachString}
}

// AddString implements zapcore.ObjectEncoder, like the others for loggers that
// were given fields beforehand.
func (e *redactor) AddString(key, value string) {
	f := e.fields()
	f.AddString(key, value)
}

// AddByteString implements zapcore.ObjectEncoder.
func (e *redactor) AddByteString(key string, value []byte) {
	f := e.fields()
	f.AddByteString(key, value)
}

// AddBinary implements zapcore.ObjectEncoder.
func (e *redactor) AddBinary(key string, value []byte) {
	f := e.fields()
	f.AddBinary(key, value)
}

// AddReflected implements zapcore.ObjectEncoder.
func (e *redactor) AddReflected(key string, value any) error {
	f := e.fields()
	return f.AddReflected(key, value)
}

// AddArray implements zapcore.ObjectEncoder.
func (e *redactor) AddArray(key string, value zapcore.ArrayMarshaler) error {
	f := e.fields()
	return f.AddArray(key, value)
}

// AddObject implements zapcore.ObjectEncoder.
func (e *redactor) AddObject(key string, value zapcore.ObjectMarshaler) error {
	f := e.fields()
	return f.AddObject(key, value)
}

// Clone implements zapcore.Encoder.
func (e *redactor) Clone() zapcore.Encoder {
	return &redactor{e.Encoder.Clone(), e.eachString, e.rules}
}

// nothing is what an entry becomes that is not to be logged.
var nothing = buffer.NewPool()

// EncodeEntry implements zapcore.Encoder.
func (e *redactor) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	if isLogCheck(&entry) {
		return nothing.Get(), nil
	}
	rules := e.rules.current()
	entry.Message = rules.Text(entry.Message)
	entry.LoggerName = rules.Text(entry.LoggerName)
	entry.Stack = rules.Text(entry.Stack)
	if redacted := rules.Redact(fields, e.eachString); redacted != nil {
		defer redacted.Free()
		fields = redacted.Fields
	}
	line, err := e.Encoder.EncodeEntry(entry, fields)
	if err != nil {
		return nil, err
	}
	return rules.Line(line), nil
}

// Interface guards
var (
	_ zapcore.Encoder                  = (*RedactEncoder)(nil)
	_ caddy.Provisioner                = (*RedactEncoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*RedactEncoder)(nil)
)
