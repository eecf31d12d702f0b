package keyring

import (
	"fmt"
	"log/slog"
)

// Secret is a plaintext credential on its way to the one caller who may see it.
// However it is printed, logged or marshalled it reads "[secret]"; only
// [Secret.Reveal] gives the text.
type Secret struct{ text string }

const redacted = "[secret]"

// NewSecret wraps a plaintext that came from a caller.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the plaintext.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == "" }

// Format prints the mask for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String returns the mask.
func (Secret) String() string { return redacted }

// GoString returns the mask.
func (Secret) GoString() string { return redacted }

// MarshalText returns the mask, for JSON and every other text encoding.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns the mask.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Interface guards
var (
	_ fmt.Formatter  = Secret{}
	_ slog.LogValuer = Secret{}
)
