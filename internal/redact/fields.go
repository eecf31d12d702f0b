package redact

import (
	"slices"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Fields stands before the encoder that fields are added to. Of fields whose
// key is the name of a header with keys it redacts the value, at any depth.
// Other strings it leaves to Line, unless EachString is set: for encoders whose
// lines do not show which header a value is of.
type Fields struct {
	zapcore.ObjectEncoder
	Rules      *Rules
	EachString bool
}

// text redacts a string that stands under a key.
func (f *Fields) text(key, value string) string {
	switch {
	case f.Rules.Header(key):
		return f.Rules.Value(key, value)
	case f.EachString:
		return f.Rules.Text(value)
	}
	return value
}

// AddString implements zapcore.ObjectEncoder.
func (f *Fields) AddString(key, value string) {
	f.ObjectEncoder.AddString(key, f.text(key, value))
}

// AddByteString implements zapcore.ObjectEncoder.
func (f *Fields) AddByteString(key string, value []byte) {
	if f.EachString || f.Rules.Header(key) {
		value = []byte(f.text(key, string(value)))
	}
	f.ObjectEncoder.AddByteString(key, value)
}

// AddBinary implements zapcore.ObjectEncoder. Bytes become base64, in which
// Line would see nothing.
func (f *Fields) AddBinary(key string, value []byte) {
	if f.Rules.Header(key) || f.Rules.Text(string(value)) != string(value) {
		f.ObjectEncoder.AddString(key, Mark)
		return
	}
	f.ObjectEncoder.AddBinary(key, value)
}

// AddReflected implements zapcore.ObjectEncoder.
func (f *Fields) AddReflected(key string, value any) error {
	return f.ObjectEncoder.AddReflected(key, f.reflected(key, value))
}

// AddArray implements zapcore.ObjectEncoder.
func (f *Fields) AddArray(key string, value zapcore.ArrayMarshaler) error {
	values, isHeader := value.(caddyhttp.LoggableStringArray)
	switch {
	case isHeader && len(values) == 1 && values[0] == maskedByCaddy:
		return f.ObjectEncoder.AddArray(key, value)
	case f.Rules.Header(key):
		return f.ObjectEncoder.AddArray(key, maskedArray{value, f.Rules, key})
	case isHeader && !f.EachString:
		return f.ObjectEncoder.AddArray(key, value) // of which every request has many
	}
	return f.ObjectEncoder.AddArray(key, array{value, *f})
}

// AddObject implements zapcore.ObjectEncoder.
func (f *Fields) AddObject(key string, value zapcore.ObjectMarshaler) error {
	if f.Rules.Header(key) {
		f.ObjectEncoder.AddString(key, Mark)
		return nil
	}
	if f.EachString {
		return f.ObjectEncoder.AddObject(key, &object{*f, value}) // who knows what this encoder keeps
	}
	if f.Rules.passes(value) {
		return f.ObjectEncoder.AddObject(key, value)
	}
	o := objects.Get().(*object)
	defer o.free()
	o.Rules, o.from = f.Rules, value
	return f.ObjectEncoder.AddObject(key, o)
}

// passes reports whether an object is one of the two that most lines have, and
// has no header with keys. It only saves time.
func (r *Rules) passes(value any) bool {
	switch v := value.(type) {
	case caddyhttp.LoggableHTTPRequest:
		if v.ShouldLogCredentials {
			return false // otherwise Caddy masks Authorization
		}
		for _, name := range r.spelled {
			if v.Header[name] != nil {
				return false
			}
		}
		return true
	case caddyhttp.LoggableHTTPHeader:
		for name := range v.Header {
			if r.Header(name) {
				return false
			}
		}
		return true
	}
	return false
}

// object marshals another object through Fields.
type object struct {
	Fields
	from zapcore.ObjectMarshaler
}

// objects saves an allocation for each object of each request's line.
var objects = sync.Pool{New: func() any { return new(object) }}

func (o *object) free() {
	*o = object{}
	objects.Put(o)
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (o *object) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	o.ObjectEncoder = enc
	return o.from.MarshalLogObject(o)
}

// Entry holds the fields of one entry while they are encoded.
type Entry struct {
	Fields []zapcore.Field
	late   []late
}

var entries = sync.Pool{New: func() any { return new(Entry) }}

// Redact returns an entry with fields that redact themselves when they are added
// to an encoder, to be freed when they were, or nil if fields can stay as they
// are.
func (r *Rules) Redact(fields []zapcore.Field, eachString bool) *Entry {
	first := slices.IndexFunc(fields, func(f zapcore.Field) bool { return r.concerns(&f, eachString) })
	if first < 0 {
		return nil
	}
	e := entries.Get().(*Entry)
	e.Fields = append(e.Fields, fields...)
	e.late = slices.Grow(e.late, len(fields)) // fields point into it: it must not move
	for i := first; i < len(fields); i++ {
		if r.concerns(&fields[i], eachString) {
			e.late = append(e.late, late{fields[i], Fields{Rules: r, EachString: eachString}})
			e.Fields[i] = zap.Inline(&e.late[len(e.late)-1])
		}
	}
	return e
}

// Free ends the use of the fields.
func (e *Entry) Free() {
	clear(e.Fields)
	clear(e.late)
	e.Fields, e.late = e.Fields[:0], e.late[:0]
	entries.Put(e)
}

// concerns reports whether a field has to go through Fields.
func (r *Rules) concerns(f *zapcore.Field, eachString bool) bool {
	switch f.Type {
	case zapcore.ObjectMarshalerType:
		return eachString || r.Header(f.Key) || !r.passes(f.Interface)
	case zapcore.ArrayMarshalerType, zapcore.InlineMarshalerType, zapcore.ReflectType, zapcore.BinaryType:
		return true
	case zapcore.StringType, zapcore.ByteStringType, zapcore.StringerType, zapcore.ErrorType:
		return eachString || r.Header(f.Key)
	}
	return false
}

// late is a field that is added through Fields.
type late struct {
	field zapcore.Field
	to    Fields
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (l *late) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	l.to.ObjectEncoder = enc
	l.field.AddTo(&l.to)
	return nil
}
