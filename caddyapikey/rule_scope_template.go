package caddyapikey

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// scopeTemplate is a required scope, with placeholders or without.
type scopeTemplate struct {
	literal string // if there are no placeholders
	parts   []scopePart
}

// scopePart is literal text, or a placeholder's name.
type scopePart struct {
	text        string
	placeholder bool
}

// parseScopeTemplate reads a scope such as brands/{http.request.uri.path.2}:use.
func parseScopeTemplate(s string) (scopeTemplate, error) {
	var t scopeTemplate
	sample := "" // the scope with a harmless value in every placeholder
	for rest := s; rest != ""; {
		before, after, open := strings.Cut(rest, "{")
		if before != "" {
			t.parts = append(t.parts, scopePart{text: before})
			sample += before
		}
		if !open {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.Contains(name, "{") {
			return scopeTemplate{}, fmt.Errorf("scope %q: a placeholder is written {name}, and a block begins with { at the end of the line", s)
		}
		if err := checkPlaceholder(name); err != nil {
			return scopeTemplate{}, fmt.Errorf("scope %q: %w", s, err)
		}
		t.parts = append(t.parts, scopePart{text: name, placeholder: true})
		sample += "x"
		rest = tail
	}
	if err := keyring.ValidateScope(sample); err != nil {
		return scopeTemplate{}, err
	}
	if !strings.Contains(s, "{") {
		return scopeTemplate{literal: s}, nil
	}
	return t, nil
}

// pattern returns the scope as it is written.
func (t *scopeTemplate) pattern() string {
	var b strings.Builder
	for _, part := range t.parts {
		if part.placeholder {
			b.WriteString("{" + part.text + "}")
		} else {
			b.WriteString(part.text)
		}
	}
	return b.String()
}

// expand returns the scope for a request, and false if a placeholder is empty
// or unknown.
func (t *scopeTemplate) expand(r *http.Request) (string, bool) {
	if t.literal != "" {
		return t.literal, true
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	var b strings.Builder
	for _, part := range t.parts {
		text := part.text
		if part.placeholder {
			value, known := repl.GetString(part.text)
			escaped, ok := keyring.EscapeScopeValue(value)
			if !known || !ok {
				return "", false
			}
			text = escaped
		}
		b.WriteString(text)
	}
	return b.String(), b.Len() <= keyring.MaxScopeLen
}
