package rig

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

var (
	// A block of shell commands, or an answer that the page shows.
	pageBlock = regexp.MustCompile("(?ms)^```(sh|text|json)\n(.*?)^```$")
	// What the reader is told to put into the shell, such as `TOKEN=ck_…`.
	assignment = regexp.MustCompile("`([A-Z_]+)=(ck|key)_…`")
	promised   = regexp.MustCompile(`(?m)# (\d{3})\b`)
	answered   = regexp.MustCompile(`(?m)^HTTP/1\.1 (\d{3}) `)
	madeKey    = regexp.MustCompile(`"key_[0-9a-z]{20}"`)
	madeToken  = regexp.MustCompile(`"token":"([^"]+)"`)
)

// FollowPage does what a page says, as a reader with a shell would:
//
//   - It runs the ```sh blocks in their order, but for those that begin with
//     make, and each must succeed.
//   - The status codes that curl -i prints must be those that the comments of
//     the block promise (`# 403: …`); without a promise nothing may be refused.
//   - A ```text or ```json block behind commands has lines that they print, in
//     this order, where … is any text.
//   - `TOKEN=ck_…` and `ID=key_…` in the prose behind commands are variables for
//     the later ones: the token, or the id of the key, that they just printed.
//
// It returns all that was printed.
func (e *Example) FollowPage(page string) string {
	e.t.Helper()
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			e.t.Skipf("no %s", program)
		}
	}
	var all strings.Builder
	printed, ran, rest := "", 0, page
	for rest != "" {
		prose, kind, block := rest, "", ""
		if at := pageBlock.FindStringSubmatchIndex(rest); at != nil {
			prose, kind, block = rest[:at[0]], rest[at[2]:at[3]], rest[at[4]:at[5]]
			rest = rest[at[1]:]
		} else {
			rest = ""
		}
		e.assign(prose, printed)
		switch {
		case kind == "sh" && !strings.HasPrefix(block, "make "):
			printed = e.runBlock(block)
			all.WriteString(printed)
			ran++
		case kind != "" && kind != "sh":
			if !shows(printed, block) {
				e.t.Errorf("the page shows\n%s\nprinted was\n%s", block, printed)
			}
		}
	}
	if ran == 0 {
		e.t.Error("the page has no commands")
	}
	return all.String()
}

// assign sets the variables that prose speaks of.
func (e *Example) assign(prose, printed string) {
	e.t.Helper()
	for _, m := range assignment.FindAllStringSubmatch(prose, -1) {
		name, value := m[1], strings.Trim(madeKey.FindString(printed), `"`)
		if m[2] == "ck" {
			value = ""
			if token := madeToken.FindStringSubmatch(printed); token != nil {
				value = token[1]
			}
		}
		if value == "" {
			e.t.Fatalf("nothing for %s in what was printed\n%s", name, printed)
		}
		e.environ = append(e.environ, name+"="+value)
	}
}

// runBlock runs shell commands and checks the status codes.
func (e *Example) runBlock(script string) string {
	e.t.Helper()
	cmd := exec.CommandContext(e.t.Context(), "sh", "-c",
		"set -eu\ncurl() { command curl -sS -m 20 --noproxy '*' \"$@\"; echo; }\n"+e.rename.Replace(script))
	cmd.Env = e.environ
	out, err := cmd.CombinedOutput()
	if err != nil {
		e.t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	want, got := submatches(promised, script), submatches(answered, string(out))
	if !slices.Equal(got, want) {
		e.t.Errorf("answered %v, the page promises %v\n%s\n%s", got, want, script, out)
	}
	if want == nil && strings.Contains(string(out), "problems.md#") {
		e.t.Errorf("refused\n%s\n%s", script, out)
	}
	return string(out)
}

// shows reports whether text has the lines of a block in their order, each …
// standing for anything, and white space for any other.
func shows(text, block string) bool {
	var parts []string
	for _, part := range regexp.MustCompile(`…|\n`).Split(strings.TrimSpace(block), -1) {
		var words []string
		for _, word := range strings.Fields(part) {
			words = append(words, regexp.QuoteMeta(word))
		}
		parts = append(parts, strings.Join(words, `\s+`))
	}
	return regexp.MustCompile(`(?s)` + strings.Join(parts, ".*?")).MatchString(text)
}

func submatches(pattern *regexp.Regexp, text string) (list []string) {
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}
