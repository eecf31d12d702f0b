package redact

import "go.uber.org/zap/zapcore"

// array marshals another array so that its elements pass through Fields.
type array struct {
	from zapcore.ArrayMarshaler
	to   Fields
}

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (a array) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	return a.from.MarshalLogArray(elements{enc, a.to})
}

// elements is for the elements of an array what Fields is for fields.
type elements struct {
	zapcore.ArrayEncoder
	to Fields
}

func (e elements) AppendString(value string) { e.ArrayEncoder.AppendString(e.to.text("", value)) }

func (e elements) AppendByteString(value []byte) { e.AppendString(string(value)) }

func (e elements) AppendReflected(value any) error {
	return e.ArrayEncoder.AppendReflected(e.to.reflected("", value))
}

func (e elements) AppendArray(value zapcore.ArrayMarshaler) error {
	return e.ArrayEncoder.AppendArray(array{value, e.to})
}

func (e elements) AppendObject(value zapcore.ObjectMarshaler) error {
	return e.ArrayEncoder.AppendObject(&object{e.to, value})
}

// maskedArray marshals the values of a header that holds keys.
type maskedArray struct {
	from   zapcore.ArrayMarshaler
	rules  *Rules
	header string
}

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (m maskedArray) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	return m.from.MarshalLogArray(maskedElements{enc, m})
}

type maskedElements struct {
	zapcore.ArrayEncoder
	of maskedArray
}

// Masks reports whether an encoder that an array was given masks all strings.
func Masks(enc zapcore.ArrayEncoder) bool {
	_, ok := enc.(maskedElements)
	return ok
}

func (m maskedElements) AppendString(value string) {
	m.ArrayEncoder.AppendString(m.of.rules.Value(m.of.header, value))
}

func (m maskedElements) AppendByteString(value []byte) { m.AppendString(string(value)) }

func (m maskedElements) AppendReflected(any) error {
	m.ArrayEncoder.AppendString(Mark)
	return nil
}

func (m maskedElements) AppendArray(zapcore.ArrayMarshaler) error { return m.AppendReflected(nil) }

func (m maskedElements) AppendObject(zapcore.ObjectMarshaler) error { return m.AppendReflected(nil) }
