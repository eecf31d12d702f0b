package hmacsig

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"
)

func TestParseDictionary(t *testing.T) {
	for _, c := range []struct {
		in, want string // want in canonical form; "!" is an error
	}{
		{"", ""},
		{"  ", ""},
		{"a", "a"},
		{"a=?1", "a"},
		{"a=?0", "a=?0"},
		{"a;x;y=1", "a;x;y=1"},
		{"  a=1 ,\t b=2  ", "a=1, b=2"},
		{"a=007", "a=7"},
		{"a=-0", "a=0"},
		{"a=-12", "a=-12"},
		{"a=999999999999999", "a=999999999999999"},
		{`a="x\"y\\z"`, `a="x\"y\\z"`},
		{`a=""`, `a=""`},
		{"a=Tok/en:*", "a=Tok/en:*"},
		{"a=*t", "a=*t"},
		{"a=::", "a=::"},
		{"a=:AAE=:", "a=:AAE=:"},
		{`a=(  "b";x   "c"  );y=?0`, `a=("b";x "c");y=?0`},
		{"a=()", "a=()"},
		{"a=(1);b; c=:YQ==:", "a=(1);b;c=:YQ==:"},
		{"*a.b-c_d=1", "*a.b-c_d=1"},

		{"a=1,", "!"},
		{"a=1, ", "!"},
		{",a=1", "!"},
		{"\ta=1", "!"},
		{"a=1 b=2", "!"},
		{"a= 1", "!"},
		{"a =1", "!"},
		{"A=1", "!"},
		{"1=1", "!"},
		{"a=", "!"},
		{"a=;x", "!"},
		{"a=1;", "!"},
		{"a=1;X", "!"},
		{"a=1, a=2", "!"},
		{"a=1;x;x", "!"},
		{"a=(\"b\";x;x)", "!"},
		{"a=1000000000000000", "!"},
		{"a=1.5", "!"},
		{"a=1.", "!"},
		{"a=-", "!"},
		{"a=--1", "!"},
		{"a=+1", "!"},
		{"a=@1", "!"},
		{`a=%"x"`, "!"},
		{"a=?2", "!"},
		{"a=?", "!"},
		{"a=?11", "!"},
		{`a="x`, "!"},
		{`a="x\`, "!"},
		{`a="x\n"`, "!"},
		{"a=\"\x7f\"", "!"},
		{"a=\"\x00\"", "!"},
		{"a=\"é\"", "!"},
		{"a=:YQ==", "!"},
		{"a=:YQ:", "!"},
		{"a=:YQ=:", "!"},
		{"a=:YR==:", "!"}, // stray bits
		{"a=:YQ==\n:", "!"},
		{"a=:Y Q==:", "!"},
		{"a=:YQ__:", "!"},
		{"a=(", "!"},
		{"a=(1", "!"},
		{"a=(1,2)", "!"},
		{"a=(1\t2)", "!"},
		{`a=("b""c")`, "!"},
		{"a=((1))", "!"},
		{"a=(1))", "!"},
		{"a\x00", "!"},
		{"a=\x00", "!"},
	} {
		members, err := parseDictionary([]string{c.in})
		got := string(appendDictionary(nil, members))
		if err != nil {
			got = "!"
			if !errors.Is(err, ErrSyntax) {
				t.Errorf("%q: error %v", c.in, err)
			}
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestParseDictionaryBounds(t *testing.T) {
	many := func(n int, part, between string) string {
		return strings.Repeat(part+between, n-1) + part
	}
	numbered := func(n int, between string) string {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = "k" + strings.Repeat("x", i)
		}
		return strings.Join(keys, between)
	}
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"longest", `a="` + strings.Repeat("x", sfMaxBytes-6) + `"`, true},
		{"too long", `a="` + strings.Repeat("x", sfMaxBytes-5) + `"`, false},
		{"most members", numbered(sfMaxMembers, ","), true},
		{"too many members", numbered(sfMaxMembers+1, ","), false},
		{"most items", "a=(" + many(sfMaxItems, "1", " ") + ")", true},
		{"too many items", "a=(" + many(sfMaxItems+1, "1", " ") + ")", false},
		{"most parameters", "a;" + numbered(sfMaxParams, ";"), true},
		{"too many parameters", "a;" + numbered(sfMaxParams+1, ";"), false},
	} {
		if _, err := parseDictionary([]string{c.in}); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// The lines count together.
	if _, err := parseDictionary([]string{"a=1", strings.Repeat("x", sfMaxBytes-5)}); !errors.Is(err, ErrSyntax) {
		t.Errorf("long lines: %v", err)
	}
}

var fifteenDigits = regexp.MustCompile(`\d{15}`)

// FuzzSFV holds the parser against another: what this one accepts the other one
// accepts too, with the same canonical form, and that form is its own.
func FuzzSFV(f *testing.F) {
	for _, seed := range []string{
		"", "a=1, b;x=?0, c=:YQ==:", `sig=("@method" "x";bs);created=1;keyid="k\""`, "a=(a 1 ?1 :YQ==:);x", "*a=-007", "a=(000000000000000)",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		members, err := parseDictionary([]string{in})
		if err != nil {
			return
		}
		form := string(appendDictionary(nil, members))
		theirs, err := httpsfv.UnmarshalDictionary([]string{in})
		if errors.Is(err, httpsfv.ErrNumberOutOfRange) && fifteenDigits.MatchString(in) {
			return // they refuse the longest integers, unless the field ends there
		}
		if err != nil {
			t.Fatalf("%q is accepted, but: %v", in, err)
		}
		if want, err := httpsfv.Marshal(theirs); err != nil || form != want {
			t.Fatalf("%q: %q, but theirs %q, error %v", in, form, want, err)
		}
		if len(form)+2 > sfMaxBytes {
			return // the form has blanks behind its commas
		}
		again, err := parseDictionary([]string{form})
		if err != nil || string(appendDictionary(nil, again)) != form {
			t.Fatalf("%q: its form %q is not its own: %v", in, form, err)
		}
	})
}

func FuzzContentDigest(f *testing.F) {
	f.Add("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", []byte(`{"hello": "world"}`))
	f.Add("md5=:Sd/dVLAcvNLSq16eXua5uQ==:", []byte(""))
	f.Fuzz(func(t *testing.T, in string, body []byte) {
		d, err := ParseContentDigest([]string{in})
		if err != nil {
			if !errors.Is(err, ErrDigest) {
				t.Fatalf("%q: %v", in, err)
			}
			return
		}
		theirs, err := httpsfv.UnmarshalDictionary([]string{in})
		if errors.Is(err, httpsfv.ErrNumberOutOfRange) && fifteenDigits.MatchString(in) {
			return
		}
		if err != nil {
			t.Fatalf("%q is accepted, but: %v", in, err)
		}
		for alg, sum := range map[string][]byte{"sha-256": d.sha256, "sha-512": d.sha512} {
			m, ok := theirs.Get(alg)
			if ok != (sum != nil) || ok && string(m.(httpsfv.Item).Value.([]byte)) != string(sum) {
				t.Fatalf("%q: another %s than theirs", in, alg)
			}
		}
		v := d.Verifier()
		v.Write(body)
		if own, _ := DigestContent(strings.NewReader(string(body))); v.Verify() == nil && d.sha256 != nil {
			if again, err := ParseContentDigest([]string{own}); err != nil || string(again.sha256) != string(d.sha256) {
				t.Fatalf("%q fits a body whose digest is %q", in, own)
			}
		}
	})
}
