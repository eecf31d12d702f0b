package denylist

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("x", MaxLine-len("10.0.0.1 #"))
	for name, c := range map[string]struct {
		text string
		want string // the prefixes, in order
	}{
		"plain":              {"203.0.113.7\n198.51.100.0/24\n2001:db8::/32\n", "198.51.100.0/24 203.0.113.7/32 2001:db8::/32"},
		"comments":           {"# mine\n\n ; and\n203.0.113.7 # a\n203.0.113.8;b\n\t203.0.113.9\t#\t;\n", "203.0.113.7/32 203.0.113.8/32 203.0.113.9/32"},
		"nothing but notes":  {"# nothing yet\n", ""},
		"blank":              {"\n \n", ""},
		"lines of DOS":       {"203.0.113.7\r\n# x\r\n", "203.0.113.7/32"},
		"DROP as text":       {"; Spamhaus DROP List 2026/10/08 - (c) 2026 The Spamhaus Project SLU\n; Expires: Thu, 08 Oct 2026 12:14:02 GMT\n1.10.16.0/20 ; SBL256894\n1.19.0.0/16 ; SBL434604\n", "1.10.16.0/20 1.19.0.0/16"},
		"DROP as JSON":       {`{"cidr":"1.10.16.0/20","sblid":"SBL256894","rir":"apnic"}` + "\n" + `{"cidr":"2a06:e480::/29","sblid":"SBL301771"}` + "\n" + `{"type":"metadata","timestamp":1738947360,"size":2,"records":2,"copyright":"(c)"}` + "\n", "1.10.16.0/20 2a06:e480::/29"},
		"JSON without break": {`{"cidr":"1.10.16.0/20"}` + "\n" + `{"type":"metadata","records":1}`, "1.10.16.0/20"},
		"JSON, repeated":     {"{\"cidr\":\"1.10.16.0/20\"}\n{\"cidr\":\"1.10.16.0/20\"}\n\n{\"type\":\"metadata\",\"records\":2}\n\n", "1.10.16.0/20"},
		"JSON of none":       {`{"type":"metadata","records":0}`, ""},
		"mapped":             {"::ffff:203.0.113.7\n::ffff:198.51.100.0/120\n", "198.51.100.0/24 203.0.113.7/32"},
		"repeated":           {"203.0.113.7\n203.0.113.7/32\n", "203.0.113.7/32"},
		"a long line":        {"10.0.0.1 #" + long + "\n", "10.0.0.1/32"},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Parse(strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for p := range set.trie.AllSorted() {
				got = append(got, p.String())
			}
			if strings.Join(got, " ") != c.want || set.Len() != len(got) {
				t.Errorf("%d: %v, want %s", set.Len(), got, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text, want string
		cutOff     bool
	}{
		"a word":              {"203.0.113.7\nlocalhost\n", `line 2: "localhost" is not an address`, false},
		"two addresses":       {"203.0.113.7 203.0.113.8\n", "line 1: ", false},
		"commas":              {"203.0.113.7,203.0.113.8\n", "line 1: ", false},
		"a range":             {"203.0.113.7-203.0.113.9\n", "line 1: ", false},
		"host bits":           {"203.0.113.7/24\n", "203.0.113.0/24 for the whole network", false},
		"host bits, mapped":   {"::ffff:203.0.113.7/120\n", "host bits", false},
		"wider than mapped":   {"::ffff:0:0/95\n", "v4-mapped range", false},
		"a zone":              {"fe80::1%eth0\n", "names a zone", false},
		"octal":               {"010.0.0.1\n", "line 1: ", false},
		"everyone":            {"0.0.0.0/0\n", "0.0.0.0/0 would deny everyone", false},
		"everyone, mapped":    {"::ffff:0:0/96\n", "0.0.0.0/0 would deny everyone", false},
		"everyone of IPv6":    {"::/0\n", "::/0 would deny everyone", false},
		"a web page":          {"<!DOCTYPE html>\n<html>\n", "line 1: ", false},
		"bytes":               {"\x1f\x8b\x08\x00\n", "line 1: ", false},
		"a mark of the order": {"\ufeff203.0.113.7\n", "line 1: ", false},
		"a long word":         {strings.Repeat("9", 4000) + "\n", strings.Repeat("9", 64) + "…", false},
		"a long line":         {"10.0.0.1\n10.0.0.2 #" + strings.Repeat("x", MaxLine-len("10.0.0.2 #")+1) + "\n", "line 2: longer than 4096 bytes", false},
		"a line without end":  {strings.Repeat("#", 1<<20), "line 1: longer than 4096 bytes", false},
		"cut off":             {"203.0.113.7\n203.0.11", "line 2: the file is cut off", true},
		"cut off in a note":   {"203.0.113.7\n# no", "line 2: the file is cut off", true},
		"JSON without count":  {`{"cidr":"1.10.16.0/20"}` + "\n", "the file is cut off: the line with", true},
		"JSON cut off":        {`{"cidr":"1.10.16.0/20"}` + "\n" + `{"cidr":"1.10.`, "line 2: ", false},
		"JSON of fewer":       {`{"cidr":"1.10.16.0/20"}` + "\n" + `{"type":"metadata","records":2}`, "it has 1 entries, and says that it has 2", true},
		"JSON of more":        {`{"cidr":"1.10.16.0/20"}` + "\n" + `{"type":"metadata","records":0}`, "it has 1 entries, and says that it has 0", true},
		"behind the count":    {`{"type":"metadata","records":0}` + "\n" + `{"cidr":"1.10.16.0/20"}`, "line 2: more behind", false},
		"two counts":          {`{"type":"metadata","records":0}` + "\n" + `{"type":"metadata","records":0}`, "line 2: more behind", false},
		"another type":        {`{"type":"header","records":0}`, "has neither", false},
		"no count":            {`{"type":"metadata"}`, "has neither", false},
		"both":                {`{"type":"metadata","records":0,"cidr":"1.10.16.0/20"}`, "has neither", false},
		"an ASN":              {`{"asn":401696,"rir":"arin"}`, "has neither", false},
		"no text":             {`{"cidr":17}`, "is no JSON object", false},
		"null":                {`{"cidr":null}`, "has neither", false},
		"twice":               {`{"cidr":"1.10.16.0/20","cidr":"1.19.0.0/16"}`, "is no JSON object", false},
		"another case":        {`{"CIDR":"1.10.16.0/20"}`, "has neither", false},
		"two on a line":       {`{"cidr":"1.10.16.0/20"}{"cidr":"1.19.0.0/16"}`, "is no JSON object", false},
		"an array":            {`[{"cidr":"1.10.16.0/20"}]` + "\n", "line 1: ", false},
		"JSON, then text":     {`{"cidr":"1.10.16.0/20"}` + "\n1.19.0.0/16\n", "line 2: ", false},
		"text, then JSON":     {"1.19.0.0/16\n" + `{"cidr":"1.10.16.0/20"}` + "\n", "line 2: ", false},
		"JSON of everyone":    {`{"cidr":"::/0"}`, "would deny everyone", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 {
				t.Errorf("%v, want %q", err, c.want)
			}
			if errors.Is(err, ErrCutOff) != c.cutOff {
				t.Errorf("%v: cut off %t", err, !c.cutOff)
			}
		})
	}
}

// lines is a text of n lines that is not kept in memory.
type lines struct {
	n    int
	line func(int) string
	rest string
	at   int
}

func (l *lines) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if l.rest == "" {
			if l.at == l.n {
				return n, io.EOF
			}
			l.rest = l.line(l.at)
			l.at++
		}
		copied := copy(b[n:], l.rest)
		l.rest, n = l.rest[copied:], n+copied
	}
	return n, nil
}

func TestParseIsBounded(t *testing.T) {
	same := func(int) string { return "203.0.113.7\n" }
	if set, err := Parse(&lines{n: MaxEntries, line: same}); err != nil || set.Len() != 1 {
		t.Errorf("as many as may be: %v", err)
	}
	if _, err := Parse(&lines{n: MaxEntries + 1, line: same}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("line %d: more than %d entries", MaxEntries+1, MaxEntries)) {
		t.Errorf("one more: %v", err)
	}
	note := "#" + strings.Repeat("x", MaxLine-2) + "\n"
	note = note[:MaxLine-1] + "\n"
	if _, err := Parse(&lines{n: MaxFileSize / MaxLine, line: func(int) string { return note }}); err != nil {
		t.Errorf("as large as may be: %v", err)
	}
	if _, err := Parse(&lines{n: MaxFileSize/MaxLine + 1, line: func(int) string { return note }}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("larger: %v", err)
	}
	broken := errors.New("the disk fails")
	if _, err := Parse(io.MultiReader(strings.NewReader("203.0.113.7\n"), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("a failing disk: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// FuzzParse reads texts in another way, and wants the same outcome.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"203.0.113.7\n", "# x\n198.51.100.0/24 ; SBL1\n", "203.0.113.7", `{"cidr":"1.10.16.0/20"}` + "\n" + `{"type":"metadata","records":1}`,
		"::ffff:203.0.113.7\n", "10.0.0.1/8\n", "fe80::1%x\n", "\r\n\t\n", "0.0.0.0/0\n", "{\n", "2001:db8::/32\n2001:db8::1\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := Parse(strings.NewReader(text))
		if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
			if err == nil && !strings.Contains(text, "metadata") && !strings.Contains(text, `\`) {
				t.Error("JSON lines without a count were taken")
			}
			return
		}
		want, readable := plainly(text)
		if readable != (err == nil) {
			t.Fatalf("%v, readable %t", err, readable)
		}
		if err != nil {
			return
		}
		if set.Len() != len(want) {
			t.Errorf("%d prefixes, want %d", set.Len(), len(want))
		}
		if len(want) > 500 {
			return // each is compared with each
		}
		for p := range want {
			last := p.Addr().As16()
			for bit := p.Bits() + 128 - p.Addr().BitLen(); bit < 128; bit++ {
				last[bit/8] |= 1 << (7 - bit%8)
			}
			for _, addr := range []netip.Addr{p.Addr(), netip.AddrFrom16(last).Unmap(), netip.AddrFrom16(last).Unmap().Next(), p.Addr().Prev()} {
				listed := false
				for q := range want {
					listed = listed || q.Contains(addr)
				}
				if addr.IsValid() && set.Contains(addr) != listed {
					t.Errorf("%s: %t", addr, !listed)
				}
			}
		}
	})
}

// plainly reads a plain list without regard to cost.
func plainly(text string) (map[netip.Prefix]bool, bool) {
	list := make(map[netip.Prefix]bool)
	for text != "" {
		line, rest, ends := strings.Cut(text, "\n")
		text = rest
		if len(line) > MaxLine {
			return nil, false
		}
		line = strings.Trim(line, " \t\r")
		if line == "" {
			continue
		}
		if !ends {
			return nil, false
		}
		line, _, _ = strings.Cut(line, "#")
		line, _, _ = strings.Cut(line, ";")
		if line = strings.TrimRight(line, " \t"); line == "" {
			continue
		}
		p, err := netip.ParsePrefix(line)
		if !strings.Contains(line, "/") {
			var addr netip.Addr
			addr, err = netip.ParseAddr(line)
			if addr.Zone() != "" {
				return nil, false
			}
			p = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		if err != nil {
			return nil, false
		}
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return nil, false
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p != p.Masked() || p.Bits() == 0 {
			return nil, false
		}
		list[p] = true
	}
	return list, true
}
