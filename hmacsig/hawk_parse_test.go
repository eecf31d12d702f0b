package hmacsig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseHawk(t *testing.T) {
	const rest = `, nonce="n", mac="m"`
	for _, c := range []struct {
		name, value string
		want        error
	}{
		{"least", `Hawk id="k", ts="1"` + rest, nil},
		{"all", `Hawk dlg="d",app="a",mac="m",ext="e",hash="h",nonce="n",ts="1",id="k"`, nil},
		{"tabs", "hAWK\tid=\"k\"\t,\tts=\"1\"" + rest + "\t", nil},
		{"nothing", "", ErrNotHawk},
		{"other", `Bearer Hawk`, ErrNotHawk},
		{"scheme that begins so", `Hawks id="k", ts="1"` + rest, ErrNotHawk},
		{"Kelvin sign", "Haw\u212a id=\"k\", ts=\"1\"" + rest, ErrNotHawk},
		{"space before", ` Hawk id="k", ts="1"` + rest, ErrNotHawk},
		{"scheme alone", "Hawk", ErrSyntax},
		{"no-break space", "Hawk\u00a0id=\"k\", ts=\"1\"" + rest, ErrNotHawk},
		{"dlg without app", `Hawk id="k", ts="1", dlg="d"` + rest, ErrSyntax},
		{"name in capitals", `Hawk ID="k", ts="1"` + rest, ErrSyntax},
		{"empty ext", `Hawk id="k", ts="1", ext=""` + rest, ErrSyntax},
		{"answer's attribute", `Hawk id="k", ts="1", tsm="t"` + rest, ErrSyntax},
		{"unquoted", `Hawk id=k, ts="1"` + rest, ErrSyntax},
		{"single quotes", `Hawk id='k', ts="1"` + rest, ErrSyntax},
		{"not closed", `Hawk id="k", ts="1` + rest[:len(rest)-1], ErrSyntax},
		{"two values in one", `Hawk id="k", ts="1", nonce="n", mac="m", Hawk id="j"`, ErrSyntax},
		{"DEL", "Hawk id=\"k\x7f\", ts=\"1\"" + rest, ErrSyntax},
		{"NUL", "Hawk id=\"k\x00\", ts=\"1\"" + rest, ErrSyntax},
		{"invalid UTF-8", "Hawk id=\"k\xff\", ts=\"1\"" + rest, ErrSyntax},
		{"zero", `Hawk id="k", ts="0"` + rest, ErrSyntax},
		{"12 digits", `Hawk id="k", ts="999999999999"` + rest, nil},
		{"13 digits", `Hawk id="k", ts="1353832234000"` + rest, ErrSyntax},
		{"negative", `Hawk id="k", ts="-1"` + rest, ErrSyntax},
		{"space in ts", `Hawk id="k", ts=" 1"` + rest, ErrSyntax},
		{"fraction", `Hawk id="k", ts="1.123456789"` + rest, nil},
		{"long fraction", `Hawk id="k", ts="1.1234567890"` + rest, ErrSyntax},
		{"fraction missing", `Hawk id="k", ts="1."` + rest, ErrSyntax},
		{"two fractions", `Hawk id="k", ts="1.1.1"` + rest, ErrSyntax},
		{"only a fraction", `Hawk id="k", ts=".5"` + rest, ErrSyntax},
		{"4096 bytes", padHawk(MaxHawk), nil},
		{"4097 bytes", padHawk(MaxHawk + 1), ErrSyntax},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim, err := ParseHawk(c.value)
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if err != nil && claim != (HawkClaim{}) {
				t.Error("a claim that was refused says something")
			}
		})
	}
}

func padHawk(length int) string {
	const begin, end = `Hawk id="k", ts="1", nonce="n", mac="m", ext="`, `"`
	return begin + strings.Repeat("x", length-len(begin)-len(end)) + end
}

// Long fields take no longer than their length deserves; the reference once took
// years for such (CVE-2016-2515, CVE-2022-29167).
func TestHawkLongInput(t *testing.T) {
	r := &Request{Method: "GET", Scheme: "http", Authority: "a.example", Target: "/"}
	claim, err := ParseHawk(padHawk(200))
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{"a", ":", " ", `"`, `\`, ",", `a="`, `id="`, `a="b",`, "[", "&bewit=", "?", "%", "://"} {
		long := strings.Repeat(unit, 1<<20/len(unit))
		for name, f := range map[string]func(){
			"field":  func() { _, _ = ParseHawk("Hawk " + long) },
			"values": func() { _, _ = ParseHawk(`Hawk id="` + long) },
			"bewit":  func() { _, _ = ParseHawkBewit(&Request{Method: "GET", Target: "/?bewit=" + long}) },
			"host":   func() { r := *r; r.Authority = long; _, _ = claim.Verify(hawkDecoy, &r) },
			"target": func() { r := *r; r.Target = "/" + long; _, _ = claim.Verify(hawkDecoy, &r) },
		} {
			// A quadratic scan of 1 MiB takes minutes.
			if took := hawkTimed(f); took > 20*time.Second {
				t.Errorf("%s of %q: %v", name, unit, took)
			}
		}
	}
}

func hawkTimed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// What is accepted has one meaning and, but for its white space and the order of
// its attributes, one spelling.
func FuzzParseHawk(f *testing.F) {
	for _, seed := range []string{
		`Hawk id="k", ts="1353832234", nonce="n", mac="m"`,
		`hawk mac="m",dlg="d" , app="a",ext="a=\"b\"",hash="h",nonce="n",ts="1.5",id="k"`,
		`Hawk id="k", ts="1", nonce="n", mac="m", ext="a, id=b"`,
		`Hawk id="", ts="1",, mac`, `Hawk`, `Bearer x`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		claim, err := ParseHawk(value)
		if err != nil {
			if !errors.Is(err, ErrNotHawk) && !errors.Is(err, ErrSyntax) {
				t.Fatalf("%v", err)
			}
			return
		}
		rebuilt := rebuildHawk(claim)
		if got, want := spellHawk(value), spellHawk(rebuilt); !slices.Equal(got, want) {
			t.Errorf("%q is understood as %q", value, rebuilt)
		}
		again, err := ParseHawk(rebuilt)
		if len(rebuilt) <= MaxHawk && (err != nil || again != claim) {
			t.Errorf("rebuilt: %v (%v), want %v", again, err, claim)
		}
	})
}

func rebuildHawk(c HawkClaim) string {
	attributes := []string{}
	for _, name := range hawkRequestNames {
		if value := *c.named(name); value != "" {
			attributes = append(attributes, fmt.Sprintf(`%s="%s"`, name, value))
		}
	}
	return "Hawk " + strings.Join(attributes, ", ")
}

// spellHawk splits a field without the parser's help: what stands outside of
// quotation marks loses its white space, and the pairs are sorted.
func spellHawk(value string) []string {
	text, quoted := strings.Builder{}, false
	for i, c := range []byte(value) {
		switch {
		case c == '"':
			quoted = !quoted
			text.WriteByte(c)
		case i < len("Hawk"):
			text.WriteString(strings.ToLower(string(c)))
		case quoted && c == ',':
			text.WriteString("<comma>")
		case quoted || c != ' ' && c != '\t':
			text.WriteByte(c)
		}
	}
	pairs := strings.Split(strings.TrimPrefix(text.String(), "hawk"), ",")
	slices.Sort(pairs)
	return pairs
}

// A bewit that is accepted has one spelling, and what is left of the target is
// the target without it.
func FuzzParseHawkBewit(f *testing.F) {
	f.Add("/resource/4?a=1&b=2&bewit=ZGgzN2ZnajQ5MmplXDEzNTM4MzI1MzRcamFNV21HVkRtL3ZMZG9mbDhUQUo4cVB0anBGZVVYRVJ4WlZoUWFZc0V4az1cc29tZS1hcHAtZGF0YQ")
	f.Add("/r?bewit=a1wxXG1c&a=1")
	f.Add("/r?&bewit=a1wxXG1c")
	f.Add("/r?bewit=a1wxXG1c&bewit=")
	f.Fuzz(func(t *testing.T, target string) {
		r := &Request{Method: "GET", Scheme: "http", Authority: "a.example", Target: target}
		claim, err := ParseHawkBewit(r)
		if err != nil {
			return
		}
		if again, err := ParseHawkBewit(&Request{Method: "GET", Target: claim.target}); !errors.Is(err, ErrNotHawk) {
			t.Errorf("%q still has a bewit: %+v", claim.target, again)
		}
		text := bewitText(claim.id, claim.exp, claim.mac, claim.ext)
		if !strings.Contains(target, "bewit="+text) {
			t.Errorf("%q has another spelling than %q", target, text)
		}
		if len(target) != len(claim.target)+len("&bewit=")+len(text) {
			t.Errorf("%q without its bewit is %q", target, claim.target)
		}
		_ = claim.VerifyUnknown(r)
	})
}
