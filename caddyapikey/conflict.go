package caddyapikey

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// conflict finds what is right by itself and not beside the rest of the handler.
// With it comes the line of the Caddyfile that it stands in, as lineOf names it.
func (h *Handler) conflict() (line string, err error) {
	s, sources := h.signature(), h.sources()
	if h.Signature != nil && s.accepts(schemeHawk) && h.readsWholeAuthorization() {
		return "signature", errors.New("signature hawk: keys are read from the whole header Authorization, where Hawk stands, too; use another header for keys, or leave hawk out")
	}
	if s.Hawk != nil && s.Hawk.Bewit > 0 && slices.Contains(sources, Source{Kind: SourceQuery, Name: bewitParam}) {
		return "signature", errors.New("from query bewit: bewits stand there; choose another parameter for keys")
	}
	if len(s.Schemes) == 0 {
		for _, rule := range h.Rules {
			switch {
			case rule.Signed:
				return lineOf(rule), fmt.Errorf("rule %s: signed, but signature off accepts no signature: leave one of them out", rule.Name)
			case rule.SignedBody != "" || rule.BodyLimit != 0:
				return lineOf(rule), fmt.Errorf("rule %s: signed_body and body_limit are about signed requests, and signature off accepts none; to limit all bodies write Caddy's `request_body` beside api_key", rule.Name)
			}
		}
	}
	return h.forwardConflict(sources)
}

func (h *Handler) forwardConflict(sources []Source) (line string, err error) {
	for i, f := range h.Forward {
		if err := f.normalize(); err != nil { // f is a copy
			return "forward", err
		}
		line := "forward " + f.Header
		for _, s := range sources {
			if f.Header == s.headerName() {
				return line, fmt.Errorf("forward %s: keys are read from the header %s; choose another one, such as X-Key-Id", f.Field, f.Header)
			}
		}
		for _, other := range h.Forward[:i] {
			if other.normalize() == nil && other.Header == f.Header {
				return line, fmt.Errorf("forward %s: the header %s tells %s already; choose another one", f.Field, f.Header, other.Field)
			}
		}
	}
	return "", nil
}

// errOpensAll is the error of a handler that asks for keys and makes everything
// public.
var errOpensAll = errors.New("a public rule exempts all requests, so that no `require` here would count: name what needs no key, such as `public /health`")

// opensAll reports whether a rule makes everything public beside rules that ask
// for a key.
func (h *Handler) opensAll() bool {
	return h.opening() != "" && slices.ContainsFunc(h.Rules, func(r *Rule) bool { return r.Access == "" || r.Access == accessRequire })
}

// opening returns the line of a rule that makes everything public, "" if none
// does. It is for rules that are not provisioned yet.
func (h *Handler) opening() string {
	for _, rule := range h.Rules {
		if rule.Access == accessPublic && matchesAll(rule.MatcherSetsRaw) {
			return lineOf(rule)
		}
	}
	return ""
}

// matchesAll reports whether it is plain that one of the matcher sets matches
// every request.
func matchesAll(sets caddyhttp.RawMatcherSets) bool {
	return len(sets) == 0 || slices.ContainsFunc(sets, func(set caddy.ModuleMap) bool {
		var paths []string
		return len(set) == 0 || len(set) == 1 && json.Unmarshal(set["path"], &paths) == nil &&
			(slices.Contains(paths, "*") || slices.Contains(paths, "/*"))
	})
}

// lineOf names the line of a rule.
func lineOf(rule *Rule) string { return "rule " + rule.Name }

// readsWholeAuthorization reports whether a key may be all of the field
// Authorization, without a scheme.
func (h *Handler) readsWholeAuthorization() bool {
	return slices.ContainsFunc(h.sources(), func(s Source) bool {
		return s.Kind == SourceHeader && s.headerName() == "Authorization"
	})
}
