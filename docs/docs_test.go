// Package docs_test checks the pages against the code: links and anchors lead
// somewhere, configurations load, and what is listed is what there is.
package docs_test

import (
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "github.com/mholt/caddy-ratelimit"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// pages returns the text of every page by its path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/*.md"} {
		paths, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			texts[strings.TrimPrefix(filepath.ToSlash(path), "../")] = read(t, path)
		}
	}
	if len(texts) < 10 {
		t.Fatalf("%d pages", len(texts))
	}
	return texts
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	fence   = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")
	inline  = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
)

// Every link within the repository leads to a file and, if it has an anchor, to
// a heading in it.
func TestLinksLeadSomewhere(t *testing.T) {
	texts := pages(t)
	for page, text := range texts {
		prose := inline.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = path.Join(path.Dir(page), file)
			}
			if _, err := os.Stat("../" + target); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(texts[target]), anchor) {
				t.Errorf("%s links to %s, and no heading has that anchor", page, m[1])
			}
		}
	}
}

// anchors returns those that GitHub makes of the headings of a page.
func anchors(text string) (list []string) {
	drop := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		anchor := strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		name := anchor
		for n := 1; slices.Contains(list, name); n++ {
			name = fmt.Sprintf("%s-%d", anchor, n)
		}
		list = append(list, name)
	}
	return list
}

// around is what a fragment of a Caddyfile is put into, by the word behind
// ```caddyfile.
var around = map[string]string{
	"":        "%s",
	"app":     "{\napi_keys {\n%s\n}\n}\nexample.com {\nrespond ok\n}",
	"site":    "example.com {\n%s\n}",
	"api_key": "example.com {\n@write method POST\napi_key {\nrequire /wrapped\n%s\n}\n}",
}

// Every Caddyfile in the pages adapts, and every configuration is valid.
func TestConfigurationsLoad(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	secret := filepath.Join(t.TempDir(), "master_key")
	if err := os.WriteFile(secret, []byte(keyring.NewMasterKey().Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "drop.txt")
	if err := os.WriteFile(list, []byte("203.0.113.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	caddyfiles, natives := 0, 0
	for page, text := range pages(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			language, fragment, _ := strings.Cut(m[1], " ")
			config := []byte(strings.ReplaceAll(m[2], "/etc/caddy/drop.txt", list))
			switch {
			case language == "caddyfile":
				caddyfiles++
				wrapper, ok := around[fragment]
				if !ok {
					t.Errorf("%s: a Caddyfile is marked %q", page, fragment)
					continue
				}
				var err error
				text := strings.ReplaceAll(string(config), "/run/secrets/api_keys", secret)
				if config, err = rig.Adapt(fmt.Sprintf(wrapper, text)); err != nil {
					t.Errorf("%s: %v\n%s", page, err, m[2])
					continue
				}
			case language == "json" && strings.Contains(m[2], `"apps"`):
				natives++
			default:
				continue
			}
			if err := validate(config); err != nil {
				t.Errorf("%s: %v\n%s", page, err, m[2])
			}
		}
	}
	if caddyfiles < 20 || natives < 3 {
		t.Errorf("%d Caddyfiles and %d native configurations", caddyfiles, natives)
	}
}

// validate provisions a configuration without running it.
func validate(config []byte) error {
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &c); err != nil {
		return err
	}
	return caddy.Validate(&c)
}

// The page of refusals has a section for each reason of the handler and of the
// admin API, which begins with its status, and for nothing else.
func TestEveryRefusalIsExplained(t *testing.T) {
	want := make(map[string]int)
	for _, source := range []struct{ file, pattern string }{
		{"../caddyapikey/refusal.go", `&refusal\{"([a-z_-]+)", http\.(Status\w+),`},
		{"../adminapi/problem.go", `kind\{http\.(Status\w+), "([a-z-]+)",`},
	} {
		found := regexp.MustCompile(source.pattern).FindAllStringSubmatch(read(t, source.file), -1)
		if len(found) < 10 {
			t.Fatalf("%s: %d reasons found", source.file, len(found))
		}
		for _, m := range found {
			reason, status := m[1], m[2]
			if strings.HasPrefix(reason, "Status") {
				reason, status = status, reason
			}
			want[reason] = statusCode(t, status)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^## (.+)\n\n(.*)$`).FindAllStringSubmatch(read(t, "problems.md"), -1) {
		status, known := want[m[1]]
		if !known {
			t.Errorf("problems.md explains %s, which does not exist", m[1])
		} else if !strings.HasPrefix(m[2], fmt.Sprintf("%d. ", status)) {
			t.Errorf("problems.md: %s begins %q, its status is %d", m[1], m[2], status)
		}
		delete(want, m[1])
	}
	for reason := range want {
		t.Errorf("problems.md has no section %s", reason)
	}
}

// statusCode finds the code of a constant of net/http by its name.
func statusCode(t *testing.T, constant string) int {
	t.Helper()
	squash := strings.NewReplacer(" ", "", "-", "", "'", "")
	for code := 100; code < 600; code++ {
		if text := http.StatusText(code); text != "" && "Status"+squash.Replace(text) == constant {
			return code
		}
	}
	t.Fatalf("unknown status %s", constant)
	return 0
}

// The Caddyfile page lists exactly the checks and options that the code has.
func TestListsOfTheCaddyfilePage(t *testing.T) {
	page := read(t, "caddyfile.md")
	options := listed(t, "../caddyapikey/caddyfile.go", `unknown option %q: write ([^"]*)"`)
	for _, c := range []struct {
		what       string
		documented []string
		real       []string
	}{
		{"strict checks", rows(section(page, "## Strict checks")), firsts(read(t, "../caddyapikey/strict.go"), `(?m)^\t\{"([a-z0-9_]+)", http\.`)},
		{"lines of a rule", rows(section(page, "### Lines of a rule")), listed(t, "../caddyapikey/rule_caddyfile.go", `unknown condition %q: write ([^"]*)"`)},
		{"global options", firsts(section(page, "## Global option `api_keys`"), `(?m)^### (\S+)$`), listed(t, "../caddyapikey/app_caddyfile.go", `unknown option %q: write ([^"]*)"`)},
		{"options and rules", firsts(section(page, "## Rules")+section(page, "## Options"), `(?m)^### (\S+)$`), options},
		{"conditions and options in the grammar", firsts(firstFence(section(page, "## Directive `api_key`")), `(?m)^\t([a-z_]+)\b`), options},
		{"fields of the matcher", rows(read(t, "matcher.md")), listed(t, "../caddyapikey/matcher.go", `unknown field %q: write ([^"]*)"`)},
		{"placeholders", firsts(section(read(t, "handler.md"), "## Placeholders"), "\\{(http\\.[a-z_.*]+)\\}"), placeholders(t)},
	} {
		slices.Sort(c.documented)
		slices.Sort(c.real)
		if len(c.real) == 0 || !slices.Equal(slices.Compact(c.documented), slices.Compact(c.real)) {
			t.Errorf("%s\ndocumented %v\nreal       %v", c.what, c.documented, c.real)
		}
	}
}

// placeholders are those that the handler's own documentation names.
func placeholders(t *testing.T) []string {
	return firsts(read(t, "../caddyapikey/handler.go"), "(?m)^//.*`\\{(http\\.[a-z_.*]+)\\}`")
}

// section returns the part of a page under a heading, up to the next one of the
// same or a higher level.
func section(page, title string) string {
	_, text, found := strings.Cut("\n"+page, "\n"+title+"\n")
	if !found {
		return ""
	}
	level := strings.Index(title, " ")
	if end := regexp.MustCompile(fmt.Sprintf(`(?m)^#{1,%d} `, level)).FindStringIndex(text); end != nil {
		text = text[:end[0]]
	}
	return text
}

func firstFence(text string) string {
	if m := fence.FindStringSubmatch(text); m != nil {
		return m[2]
	}
	return ""
}

// rows returns the names in the first column of tables.
func rows(text string) []string { return firsts(text, "(?m)^\\| `([a-z0-9_]+)") }

// listed returns the words of a list such as "a, b or c" in a message.
func listed(t *testing.T, file, pattern string) []string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(read(t, file))
	if m == nil {
		t.Fatalf("%s: nothing like %s", file, pattern)
	}
	return regexp.MustCompile(`, | or | and `).Split(m[1], -1)
}

// firsts returns the first group of every match.
func firsts(text, pattern string) (list []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

// The errors that the page of the store quotes are errors that there are.
func TestErrorsOfTheStore(t *testing.T) {
	var source strings.Builder
	for _, pattern := range []string{"../store/bolt/*.go", "../keyring/errors.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if !strings.HasSuffix(path, "_test.go") {
				source.WriteString(read(t, path))
			}
		}
	}
	page := read(t, "store-bolt.md")
	quoted := firsts(section(page, "## When it does not open")+section(page, "## When it fails while it runs"), "(?m)^\\| `([^`]+)`")
	if len(quoted) < 15 {
		t.Fatalf("%d errors", len(quoted))
	}
	for _, text := range quoted {
		if text != "permission denied" && !strings.Contains(source.String(), text) {
			t.Errorf("no error of the store has %q", text)
		}
	}
}

// What the page of keys says of tokens, scopes and limits is so.
func TestKeysPage(t *testing.T) {
	page := read(t, "keys.md")
	token := firsts(section(page, "## Tokens"), `(?m)^(ck_\w+)$`)
	if len(token) != 1 || !keyring.IsToken(token[0], keyring.DefaultTokenPrefix) {
		t.Errorf("the example %v is no token", token)
	}
	if pattern := keyring.TokenPattern(keyring.DefaultTokenPrefix); !strings.Contains(page, "\n"+pattern+"\n") {
		t.Errorf("the published expression is not %s", pattern)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\| (.*) \\|$").FindAllStringSubmatch(section(page, "## Scopes"), -1) {
		grants, err := keyring.NewGrants([]string{m[1]})
		if err != nil {
			t.Fatal(err)
		}
		for column, want := range []bool{true, false} {
			for _, scope := range firsts(m[column+2], "`([^`]+)`") {
				if grants.Covers(scope) != want {
					t.Errorf("%s covers %s: %v, the page says %v", m[1], scope, !want, want)
				}
			}
		}
	}
	limits := section(page, "## Limits")
	for _, row := range []string{
		fmt.Sprintf("| name, owner | %d bytes |", keyring.MaxNameLen),
		fmt.Sprintf("| purpose | %s bytes |", thousands(keyring.MaxPurposeLen)),
		fmt.Sprintf("| org, tier, role, tag, metadata name | %d letters", keyring.MaxLabelLen),
		fmt.Sprintf("| scopes of a key | %d |", keyring.MaxScopes),
		fmt.Sprintf("| one scope | %d bytes |", keyring.MaxScopeLen),
		fmt.Sprintf("| roles, tags, metadata entries | %d each |", keyring.MaxRoles),
		fmt.Sprintf("| roles, tags, metadata entries | %d each |", keyring.MaxTags),
		fmt.Sprintf("| roles, tags, metadata entries | %d each |", keyring.MaxMetadata),
		fmt.Sprintf("| one metadata value | %d bytes |", keyring.MaxMetadataLen),
		fmt.Sprintf("| entries of an address list | %s |", thousands(keyring.MaxAddrs)),
		fmt.Sprintf("| origins | %d |", keyring.MaxOrigins),
		fmt.Sprintf("| limits | %d |", limit.MaxLimits),
		fmt.Sprintf("| credentials | %d live, %d in all;", keyring.MaxLiveCredentials, keyring.MaxCredentials),
		fmt.Sprintf("| overlap of a rotation | %d days |", int(keyring.MaxOverlap.Hours()/24)),
		fmt.Sprintf("| one import | %s keys,", thousands(keyring.MaxImport)),
	} {
		if !strings.Contains(limits, row) {
			t.Errorf("the table of limits has no %q", row)
		}
	}
}

// thousands writes a number as the pages do.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return thousands(n/1000) + fmt.Sprintf(",%03d", n%1000)
}
