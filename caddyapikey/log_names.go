package caddyapikey

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddy-apikey/caddy-apikey/internal/redact"
)

// maxKnownNames bounds knownNames. It is far beyond what configurations have.
const maxKnownNames = 1000

// knownNames has every place that a configuration of this process reads keys
// from, and every token prefix. Encoders are older than the handlers they redact
// for, so they look here for each line.
//
// Nothing is ever removed: requests of an old configuration go on after its
// modules are cleaned up, and are logged when they end.
var knownNames struct {
	mu  sync.Mutex // of writers
	now atomic.Pointer[redact.Names]
}

func init() { knownNames.now.Store(new(redact.Names)) }

var errTooManyNames = errors.New("this process has seen too many different names of headers, query parameters, cookies and prefixes; restart Caddy")

// learnNames has encoders redact more names from now on.
func learnNames(more redact.Names) error {
	knownNames.mu.Lock()
	defer knownNames.mu.Unlock()
	names := *knownNames.now.Load()
	total := 0
	for _, list := range []struct {
		known *[]string
		more  []string
	}{
		{&names.Headers, more.Headers},
		{&names.Query, more.Query},
		{&names.Cookies, more.Cookies},
		{&names.Prefixes, more.Prefixes},
	} {
		grown := slices.Clone(*list.known)
		for _, name := range list.more {
			if !slices.Contains(grown, name) {
				grown = append(grown, name)
			}
		}
		*list.known = grown
		total += len(grown)
	}
	if total > maxKnownNames {
		return errTooManyNames
	}
	knownNames.now.Store(&names)
	return nil
}

// namesOf returns what has to be redacted because of the places that a handler
// reads keys from. Authorization always is.
func namesOf(sources []Source) (names redact.Names) {
	for _, s := range sources {
		switch s.Kind {
		case SourceHeader:
			names.Headers = append(names.Headers, s.Name)
		case SourceQuery:
			names.Query = append(names.Query, s.Name)
		case SourceCookie:
			names.Cookies = append(names.Cookies, s.Name)
		}
	}
	return names
}
