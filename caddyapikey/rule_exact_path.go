package caddyapikey

import (
	"encoding/json"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// exactPath holds the path patterns of one matcher set as they were written.
// Caddy's path matcher ignores case, which is right for a rule that forbids and
// wrong for one that grants: most upstreams tell /Public from /public. A set
// without path patterns matches exactly whenever it matches.
type exactPath struct {
	patterns []string
	lower    bool // no pattern has an upper-case letter
}

// newExactPaths reads the path patterns of matcher sets that are not loaded
// yet. Only a set's own path matcher counts, not one inside `not` (where
// ignoring case makes the rule match less) or an expression.
func newExactPaths(sets caddyhttp.RawMatcherSets) []exactPath {
	list := make([]exactPath, len(sets))
	for i, set := range sets {
		list[i].lower = true
		// What is not a list of strings fails when the matcher is loaded.
		if json.Unmarshal(set["path"], &list[i].patterns) != nil {
			continue
		}
		for _, p := range list[i].patterns {
			p = escapes.ReplaceAllStringFunc(p, strings.ToLower) // %2F is %2f
			list[i].lower = list[i].lower && p == strings.ToLower(p) && !strings.Contains(p, "{")
		}
	}
	return list
}

var escapes = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// match reports whether a request that the set matches does so in exact case.
func (e *exactPath) match(r *http.Request) bool {
	if len(e.patterns) == 0 || e.lower && !hasUpper(r.URL.Path) {
		return true
	}
	for _, pattern := range e.patterns {
		if strings.Contains(pattern, "{") {
			repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
			pattern = repl.ReplaceAll(pattern, "")
		}
		if matchExact(pattern, r.URL.Path) {
			return true
		}
	}
	return false
}

func hasUpper(s string) bool {
	for i := 0; i < len(s); i++ {
		// A letter beyond ASCII may have a case, too.
		if s[i]-'A' < 26 || s[i] >= 0x80 {
			return true
		}
	}
	return false
}

// matchExact is caddyhttp.MatchPath for one pattern, but for case: first and
// last character * is a part, one * at an end a suffix or a prefix, anything
// else a glob. A pattern in escaped space (with %) never matches exactly here,
// so with upper-case letters in the path it grants nothing.
func matchExact(pattern, requestPath string) bool {
	if pattern == "*" {
		return true
	}
	if strings.Contains(pattern, "%") {
		return false
	}
	cleaned := caddyhttp.CleanPath(requestPath, !strings.Contains(pattern, "//"))
	stars := strings.Count(pattern, "*")
	head, starAtEnd := strings.CutSuffix(pattern, "*")
	tail, starAtStart := strings.CutPrefix(pattern, "*")
	switch {
	case stars == 2 && starAtStart && starAtEnd:
		return strings.Contains(cleaned, pattern[1:len(pattern)-1])
	case stars == 1 && starAtStart:
		return strings.HasSuffix(cleaned, tail)
	case stars == 1 && starAtEnd:
		return strings.HasPrefix(cleaned, head)
	}
	ok, err := path.Match(pattern, cleaned)
	return ok && err == nil
}
