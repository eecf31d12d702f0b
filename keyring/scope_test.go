package keyring

import (
	"strings"
	"testing"
)

func TestGrantsCover(t *testing.T) {
	for _, c := range []struct {
		granted, required string
		want              bool
	}{
		{"contacts:read", "contacts:read", true},
		{"contacts:read", "contacts:write", false},
		{"contacts:read", "contacts:read:all", false},
		{"contacts:read", "Contacts:read", false},
		{"contacts", "contacts:read", false},
		{"contacts:*", "contacts:read", true},
		{"contacts:*", "contacts:export:csv", true},
		{"contacts:*", "contacts:export/csv", true},
		{"contacts:*", "contacts", false},
		{"contacts:*", "contactsx:read", false},
		{"contacts:*", "contacts/read", false},
		{"*", "anything:at/all", true},
		{"brands/*:use", "brands/17:use", true},
		{"brands/*:use", "brands/17:own", false},
		{"brands/*:use", "brands/17/9:use", false},
		{"brands/*:use", "brands/17:use:all", false},
		{"brands/*:use", "brands/17%2F9:use", true},
		{"brands/*:*", "brands/17:use:all", true},
		{"brands/*:*", "brands/17", false},
		{"*:read", "contacts:read", true},
		{"*:read", "contacts/a:read", false},
		{"*/*", "a/b/c", true},
		{"brands/17:use", "brands/17%3Ause", false},
	} {
		grants, err := NewGrants([]string{c.granted})
		if err != nil {
			t.Fatalf("%s: %v", c.granted, err)
		}
		if got := grants.Covers(c.required); got != c.want {
			t.Errorf("%s covers %s: %v", c.granted, c.required, got)
		}
	}
	if (*Grants)(nil).Covers("a:b") || compileGrants([]string{"*"}).Covers("") {
		t.Error("nothing must be covered by no grant, and the empty scope by none")
	}
}

func TestValidateScopes(t *testing.T) {
	for _, s := range []string{"a", "a:b", "a/b:c", "brands/17%2F9:use", "x@y.z:read", "A-b_c~d+e:1"} {
		if ValidateGrant(s) != nil || ValidateScope(s) != nil {
			t.Errorf("%q refused", s)
		}
	}
	for _, s := range []string{"*", "a:*", "a/*:b"} {
		if err := ValidateGrant(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if ValidateScope(s) == nil {
			t.Errorf("%q accepted as a required scope", s)
		}
	}
	for _, s := range []string{
		"", ":", "a:", ":a", "a::b", "a//b", "a b", "a:b*", "a:**", "*a", "é", "a\x00", "a\"b", `a\b`, "a,b", "{x}",
		"a%2f", "a%", "a%2", "a%41", "a%zz", "a%00x%0", strings.Repeat("a", MaxScopeLen+1),
	} {
		if ValidateGrant(s) == nil {
			t.Errorf("%q accepted", s)
		}
	}
}

func TestEscapeScopeValue(t *testing.T) {
	for value, want := range map[string]string{
		"17": "17", "a/b": "a%2Fb", "a:b": "a%3Ab", "*": "%2A", "%2F": "%252F", "a b": "a%20b", "é": "%C3%A9", "\x00": "%00", "..": "..",
	} {
		if got, ok := EscapeScopeValue(value); got != want || !ok {
			t.Errorf("%q: %q, %v", value, got, ok)
		}
	}
	if _, ok := EscapeScopeValue(""); ok {
		t.Error("an empty value must refuse")
	}
}

// Whatever a caller puts into a placeholder, it stays one segment: no other
// grant than for that very value, or for any value there, covers it.
func FuzzEscapeScopeValue(f *testing.F) {
	for _, s := range []string{"17", "a/b:*", "*", "%2F", "é\x00"} {
		f.Add(s)
	}
	any := compileGrants([]string{"brands/*:use"})
	other := compileGrants([]string{"brands/17:use", "brands/17/*", "brands/*:own", "admin:*"})
	f.Fuzz(func(t *testing.T, value string) {
		escaped, ok := EscapeScopeValue(value)
		if !ok {
			if value != "" {
				t.Fatal("refused a value that is not empty")
			}
			return
		}
		scope := "brands/" + escaped + ":use"
		if len(scope) <= MaxScopeLen {
			if err := ValidateScope(scope); err != nil {
				t.Fatalf("%q: %v", scope, err)
			}
		}
		if !any.Covers(scope) {
			t.Fatalf("%q is more or less than one segment", scope)
		}
		if other.Covers(scope) && value != "17" {
			t.Fatalf("%q is covered by a grant for something else", scope)
		}
	})
}

func FuzzValidateGrant(f *testing.F) {
	for _, s := range []string{"a:b", "*", "a/*:b", "a%2F", "::", "a*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ValidateGrant(s) != nil {
			return
		}
		grants := compileGrants([]string{s})
		literal := strings.ReplaceAll(s, "*", "x")
		if !grants.Covers(literal) {
			t.Fatalf("%q does not cover %q", s, literal)
		}
	})
}

func BenchmarkCovers(b *testing.B) {
	grants := compileGrants([]string{"contacts:read", "deals:*", "brands/*:use"})
	for b.Loop() {
		if !grants.Covers("contacts:read") {
			b.Fatal()
		}
	}
}
