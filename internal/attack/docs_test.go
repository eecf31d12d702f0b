package attack

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every case has a line in docs/security.md under its number, and every line has
// a case, unless its outcome says what it waits for.
func TestEveryAttackIsDocumented(t *testing.T) {
	pages, err := filepath.Glob("../../docs/security*.md")
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(map[string]bool)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z]\d\d) \|.*\| (.*) \|$`).FindAllStringSubmatch(string(text), -1) {
			if _, twice := waiting[row[1]]; twice {
				t.Errorf("%s has two lines", row[1])
			}
			waiting[row[1]] = strings.HasPrefix(row[2], "waits for ")
		}
	}
	tested := make(map[string]bool)
	for _, cases := range classes {
		for _, c := range cases {
			number, _, _ := strings.Cut(c.name, "_")
			tested[number] = true
			if _, documented := waiting[number]; !documented {
				t.Errorf("%s has no line", c.name)
			}
		}
	}
	for number, waits := range waiting {
		if tested[number] == waits {
			t.Errorf("%s: tested %t, documented as waiting %t", number, tested[number], waits)
		}
	}
}
