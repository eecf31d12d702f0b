package keyring

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestTokenForm(t *testing.T) {
	published := regexp.MustCompile("^" + TokenPattern("ck") + "$")
	seen := make(map[string]bool)
	for range 10_000 {
		token, err := newToken("ck", rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		text := token.Reveal()
		if seen[text] {
			t.Fatal("the same token twice")
		}
		seen[text] = true
		if !published.MatchString(text) || formOf(text, "ck") != ownForm {
			t.Fatalf("a made token is not of the published form")
		}
	}
}

func TestTokenFromAllOnes(t *testing.T) {
	// 2^256-1 must fit 43 digits.
	token, err := newToken("ck", strings.NewReader(strings.Repeat("\xff", 32)))
	if err != nil || formOf(token.text, "ck") != ownForm {
		t.Fatalf("%v", err)
	}
}

func TestFormOfMistyped(t *testing.T) {
	token, _ := newToken("ck", rand.Reader)
	text := token.Reveal()
	for i := range text {
		other := byte('A')
		if text[i] == 'A' {
			other = 'B'
		}
		mistyped := text[:i] + string(other) + text[i+1:]
		if formOf(mistyped, "ck") == ownForm {
			t.Errorf("character %d mistyped and not noticed", i)
		}
	}
	for name, s := range map[string]string{
		"empty": "", "prefix only": "ck_", "cut": text[:len(text)-1], "longer": text + "0",
		"other prefix": "xx" + text[2:], "hyphen": strings.Replace(text, "_", "-", 1),
	} {
		if formOf(s, "ck") != foreignForm {
			t.Errorf("%s: taken for a token of ours", name)
		}
	}
}

func TestValidateImported(t *testing.T) {
	good, _ := newToken("ck", rand.Reader)
	broken := []byte(good.Reveal())
	if broken[10]++; !isAlnum(broken[10]) {
		broken[10] = '0'
	}
	for name, c := range map[string]struct {
		token string
		weak  bool
		want  string // part of the error; "" for none
	}{
		"uuid":             {"1f7d3c52-0c1e-4b7e-9d57-6f2a8c9b0e11", false, ""},
		"32 hex":           {"9f86d081884c7d659a2feaa0c55ad015", false, ""},
		"27 hex":           {"9f86d081884c7d659a2feaa0c55", false, "bits"},
		"20 alphanumeric":  {"aB3dE5gH7jK9mN1pQ3sT", false, ""},
		"18 alphanumeric":  {"aB3dE5gH7jK9mN1pQ3", false, "bits"},
		"word":             {"changeme", false, "bits"},
		"word, overridden": {"changeme", true, ""},
		"one character":    {strings.Repeat("a", 64), false, "bits"},
		"digits":           {"12345678901234567890123456789012", false, "bits"},
		"empty":            {"", true, "1 to 512"},
		"too long":         {strings.Repeat("aB3", 200), true, "1 to 512"},
		"space":            {"aB3dE5gH7jK9mN1pQ3sT aB3d", false, "character 21"},
		"control":          {"aB3dE5gH7jK9mN1pQ3sT\n", false, "printable"},
		"not ASCII":        {"aB3dE5gH7jK9mN1pQ3sTé", false, "printable"},
		"our form":         {good.Reveal(), false, ""},
		"our form, broken": {string(broken), false, "checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			err := validateImported("token", c.token, "ck", c.weak)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if err != nil && len(c.token) > 3 && strings.Contains(err.Error(), c.token) {
				t.Fatal("the error repeats the token")
			}
		})
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := NewSecret("hunter2")
	encoded, err := json.Marshal(map[string]any{"s": s, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s),
		fmt.Sprintf("%+v", struct{ S Secret }{s}), string(encoded), s.LogValue().String(),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("a secret was printed: %s", text)
		}
	}
}

func TestKeyIDsSortByTime(t *testing.T) {
	earlier, err := newKeyID(time.UnixMilli(1_700_000_000_000), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	later, err := newKeyID(time.UnixMilli(1_700_000_000_001), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if earlier >= later || !ValidKeyID(earlier) || len(earlier) != len("key_")+20 {
		t.Fatalf("%s, %s", earlier, later)
	}
	for _, bad := range []string{"", "key_", earlier + "0", strings.ToUpper(earlier), "key_../../../../../../x", "key_0123456789012345678u"} {
		if ValidKeyID(bad) {
			t.Errorf("%q taken for a key id", bad)
		}
	}
}

func FuzzTokenForm(f *testing.F) {
	good, _ := newToken("ck", rand.Reader)
	f.Add(good.Reveal())
	f.Add("ck_" + strings.Repeat("0", 49))
	published := regexp.MustCompile("^" + TokenPattern("ck") + "$")
	f.Fuzz(func(t *testing.T, s string) {
		if form := formOf(s, "ck"); (form != foreignForm) != published.MatchString(s) {
			t.Fatalf("%q: form %d, but the published pattern says otherwise", s, form)
		}
		_ = validateImported("token", s, "ck", false)
	})
}

func TestHintOf(t *testing.T) {
	for _, prefix := range []string{"ck", "acme_live", "a"} {
		token, err := newToken(prefix, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		text := token.Reveal()
		if got, ok := HintOf(text); !ok || got != hint(prefix, token) {
			t.Errorf("prefix %s: hint %q, %v", prefix, got, ok)
		}
		for name, other := range map[string]string{
			"cut":          text[:len(text)-1],
			"longer":       text + "0",
			"other prefix": "x" + text,
			"no prefix":    text[len(prefix):],
			"empty":        "",
		} {
			if got, ok := HintOf(other); ok || got != "" {
				t.Errorf("prefix %s, %s: hint %q, %v", prefix, name, got, ok)
			}
		}
	}
}
