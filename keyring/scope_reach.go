package keyring

import "strings"

// MayCover reports whether the grants cover what a scope with placeholders, such
// as brands/{http.request.uri.path.2}:use, can become. A placeholder's value is
// one segment, or a part of one, and never empty.
func (g *Grants) MayCover(template string) bool {
	if g == nil || template == "" {
		return false
	}
	if g.all {
		return true
	}
	template = holes(template)
	for scope := range g.exact {
		if mayMatch(scope, template) {
			return true
		}
	}
	for _, prefix := range g.prefixes {
		if mayMatch(prefix+"*", template) {
			return true
		}
	}
	for _, glob := range g.globs {
		if mayMatch(glob, template) {
			return true
		}
	}
	return false
}

// hole stands for a placeholder; no scope has it.
const hole = "{"

// holes replaces each placeholder by a hole.
func holes(template string) string {
	var b strings.Builder
	for {
		before, after, open := strings.Cut(template, "{")
		b.WriteString(before)
		if !open {
			return b.String()
		}
		b.WriteString(hole)
		_, template, _ = strings.Cut(after, "}")
	}
}

// mayMatch is globCovers for a required scope with holes.
func mayMatch(pattern, required string) bool {
	for {
		pseg, psep, prest := cutSegment(pattern)
		rseg, rsep, rrest := cutSegment(required)
		switch {
		case pseg == "*" && psep == 0:
			return rseg != ""
		case pseg != "*" && !mayBe(rseg, pseg), psep != rsep:
			return false
		case psep == 0:
			return true
		}
		pattern, required = prest, rrest
	}
}

// mayBe reports whether a segment with holes can become segment.
func mayBe(withHoles, segment string) bool {
	parts := strings.Split(withHoles, hole)
	if len(parts) == 1 {
		return withHoles == segment
	}
	first, last := parts[0], parts[len(parts)-1]
	rest, ok := strings.CutPrefix(segment, first)
	if !ok {
		return false
	}
	if rest, ok = strings.CutSuffix(rest, last); !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest[min(1, len(rest)):], part)
		if i < 0 {
			return false
		}
		rest = rest[1+i+len(part):]
	}
	return rest != ""
}
