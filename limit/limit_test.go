package limit

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Limit{
		"100/1s":              {100, 1},
		"1/1s":                {1, 1},
		"10000/1h":            {10000, 3600},
		"60/1h30m":            {60, 5400},
		"60/90m":              {60, 5400},
		"7/1h1m1s":            {7, 3661},
		"5/744h":              {5, 744 * 3600},
		"50000/day":           {50000, Day},
		"1000000000000/month": {MaxQuota, Month},
		"1000000000/1s":       {MaxRate, 1},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%s is written %s, which is %v, %v", text, got, again, err)
		}
	}
	for text, hint := range map[string]string{
		"":                           "such as 100/1s",
		"100":                        "such as 100/1s",
		"/1s":                        "such as 100/1s",
		"100/":                       "such as 100/1s",
		"0/day":                      "suspend",
		"00/day":                     "plain digits",
		"0100/1s":                    "plain digits",
		"+1/1s":                      "plain digits",
		"-1/1s":                      "plain digits",
		"1e3/1s":                     "plain digits",
		"1_000/1s":                   "plain digits",
		"1.5/1s":                     "plain digits",
		" 1/1s":                      "plain digits",
		"١/1s":                       "plain digits",
		"1000000001/1s":              "at most 1000000000",
		"1000000000001/day":          "at most 1000000000000",
		"99999999999999999999999/1s": "at most 1000000000",
		"18446744073709551617/month": "at most 1000000000000",
		"100/s":                      "write 100/1s",
		"100/m":                      "100/1m for a minute, or 100/month",
		"100/min":                    "write 100/1m",
		"100/hour":                   "write 100/1h",
		"100/1d":                     "100/24h for any 24 hours, or 100/day",
		"100/100ms":                  "shortest window is 1s",
		"100/Day":                    "such as 100/1s",
		"100/0s":                     "1s to 744h",
		"100/01s":                    "1s to 744h",
		"100/745h":                   "1s to 744h",
		"100/60s60s":                 "1s to 744h",
		"100/1s1h":                   "1s to 744h",
		"100/-1s":                    "1s to 744h",
		"100/1.5h":                   "1s to 744h",
		"100/99999999999h":           "1s to 744h",
		"100/1s ":                    "1s to 744h",
		"100/1s/1s":                  "1s to 744h",
	} {
		if got, err := Parse(text); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: %v, %v; want an error with %q", text, got, err, hint)
		}
	}
}

func TestParseAll(t *testing.T) {
	limits, _, err := ParseAll([]string{"5/month", "1/1h", "2/day", "3/1s"})
	if err != nil || !slices.Equal(Texts(limits), []string{"3/1s", "1/1h", "2/day", "5/month"}) {
		t.Errorf("%v, %v", Texts(limits), err)
	}
	for _, c := range []struct {
		texts []string
		at    int
		hint  string
	}{
		{[]string{"1/1s", "2/60s", "3/1m"}, 2, "another limit for 1m"},
		{[]string{"1/day", "2/day"}, 1, "another limit for day"},
		{[]string{"1/1s", "2/x"}, 1, "1s to 744h"},
		{strings.Split("1/1s 1/2s 1/3s 1/4s 1/5s 1/6s 1/7s 1/8s 1/9s", " "), -1, "at most 8"},
	} {
		if _, at, err := ParseAll(c.texts); err == nil || at != c.at || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%v: %d, %v", c.texts, at, err)
		}
	}
}

// FuzzParse: whatever is read as a limit is within the bounds, and is read from
// what it is written as.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"100/1s", "1/744h", "60/1h1m1s", "50000/day", "1/month", "0/1s", "9/1d", "/", "1/1s1s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text)
		if err != nil {
			return
		}
		if l.Amount == 0 || l.Amount > l.max() || !l.Span.Calendar() && (l.Span < 1 || l.Span.Window() > MaxWindow) {
			t.Fatalf("%q is %+v", text, l)
		}
		if again, err := Parse(l.String()); err != nil || again != l {
			t.Fatalf("%q is written %q: %+v, %v", text, l, again, err)
		}
	})
}
