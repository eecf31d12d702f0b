package caddyapikey

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// Source is a place in the request where a token may stand.
//
// A request must carry exactly one credential, in one of the configured places, on one line. Two are
// refused, also when one of them is junk: trying one place after the other lets a caller be one key
// to this server and another to whatever reads the request next.
type Source struct {
	// Where to look: `bearer` (Authorization: Bearer <token>), `basic` (Authorization: Basic, where the
	// password is the token and the user name is ignored), `header`, `query` or `cookie`.
	Kind SourceKind `json:"in"`

	// The name of the header, query parameter or cookie. Not used by `bearer` and `basic`.
	//
	// Header names are case-insensitive and may not hold `_` or `.`; parameter and cookie names must
	// match exactly. A header named Authorization is read whole, without a scheme; it cannot stand beside
	// `bearer` or `basic`, since one value would then count as two credentials. A token in a query
	// ends up in logs, histories and Referer headers of others: prefer a header. A `+` in a query stands
	// for itself, not for a space, because a token may hold one.
	Name string `json:"name,omitempty"`
}

// SourceKind is the kind of place where a token may stand.
type SourceKind string

// The kinds of places.
const (
	SourceBearer SourceKind = "bearer"
	SourceBasic  SourceKind = "basic"
	SourceHeader SourceKind = "header"
	SourceQuery  SourceKind = "query"
	SourceCookie SourceKind = "cookie"
)

// normalize validates the source and brings a header name into canonical form.
func (s *Source) normalize() error {
	switch s.Kind {
	case SourceBearer, SourceBasic:
		if s.Name != "" {
			return fmt.Errorf("from %s takes no name, got %q", s.Kind, s.Name)
		}
	case SourceHeader:
		s.Name = http.CanonicalHeaderKey(s.Name)
		if !onlyChars(s.Name, "-") {
			return fmt.Errorf("from header: %q is not a header name of letters, digits and '-', such as X-API-Key", s.Name)
		}
		if hasMeaning(s.Name) {
			return fmt.Errorf("from header: %s has a meaning of its own and cannot hold a token", s.Name)
		}
	case SourceQuery, SourceCookie:
		if !onlyChars(s.Name, "-_.~") {
			return fmt.Errorf("from %s: %q is not a name of letters, digits, '-', '_', '.' and '~'", s.Kind, s.Name)
		}
	default:
		return fmt.Errorf("from %q: write bearer, basic, header, query or cookie", s.Kind)
	}
	return nil
}

// hasMeaning reports whether a header, in canonical form, says something to servers and proxies, so that
// it can hold neither a token nor an identity.
func hasMeaning(name string) bool {
	switch name {
	case "Connection", "Cookie", "Date", "Early-Data", "Expect", "Forwarded", "Host", "Keep-Alive", "Origin",
		"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Range", "Referer", "Signature",
		"Signature-Input", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Via",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto":
		return true
	}
	for _, family := range []string{"Accept", "Access-Control-", "Content-", "If-"} {
		if strings.HasPrefix(name, family) {
			return true
		}
	}
	return overrideHeaders.owns(name)
}

// String returns the source as it is written in a Caddyfile, without `from`.
func (s Source) String() string {
	if s.Name == "" {
		return string(s.Kind)
	}
	return string(s.Kind) + " " + s.Name
}

// headerName returns the canonical name of the header that the token stands in, "" for a query.
func (s Source) headerName() string {
	switch s.Kind {
	case SourceBearer, SourceBasic:
		return "Authorization"
	case SourceHeader:
		return s.Name
	case SourceCookie:
		return "Cookie"
	}
	return ""
}

// onlyChars reports whether s consists of ASCII letters, digits and the others, and is not empty.
func onlyChars(s, others string) bool {
	for i := 0; i < len(s); i++ {
		c := lowerASCII(s[i])
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte(others, c) >= 0) {
			return false
		}
	}
	return s != ""
}

// sources returns the places of a key, or the default ones, in canonical form as
// far as they are valid.
func (h *Handler) sources() []Source {
	if len(h.From) == 0 {
		return []Source{{Kind: SourceBearer}, {Kind: SourceHeader, Name: "X-Api-Key"}}
	}
	sources := slices.Clone(h.From)
	_ = normalizeSources(sources)
	return sources
}

// provisionSources sets the default places of a key, and warns of a risky one.
func (h *Handler) provisionSources() error {
	h.From = h.sources()
	if err := normalizeSources(h.From); err != nil {
		return err
	}
	if err := learnNames(namesOf(h.From)); err != nil {
		return err
	}
	var names []string
	for _, s := range h.From {
		if name := s.headerName(); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
		if s.Kind == SourceQuery {
			h.logger.Warn("keys in the query end up in logs, histories and Referer headers; prefer a header",
				zap.String("parameter", s.Name))
			h.app.keysInQuery.Store(true)
		}
	}
	if len(names) > 0 {
		h.vary = strings.Join(names, ", ")
	}
	h.keyed = newHeaderOwner(append(names, "Authorization"))
	return nil
}

// credentialPlaces returns where something may stand that lets in whoever reads
// it in a log. Other signatures than a bewit are used up by then.
func (h *Handler) credentialPlaces() []Source {
	if h.Signature.Hawk.Bewit == 0 {
		return h.From
	}
	return append(slices.Clone(h.From), Source{Kind: SourceQuery, Name: bewitParam})
}

// normalizeSources checks a whole list of places and brings it into canonical
// form.
func normalizeSources(sources []Source) error {
	for i := range sources {
		if err := sources[i].normalize(); err != nil {
			return err
		}
		if slices.Contains(sources[:i], sources[i]) {
			return fmt.Errorf("from %s is given twice", sources[i])
		}
		for _, other := range sources[:i] {
			if other.headerName() == "Authorization" && sources[i].headerName() == "Authorization" &&
				(other.Kind == SourceHeader || sources[i].Kind == SourceHeader) {
				return fmt.Errorf("from %s and from %s read the same header in two ways; leave one out", other, sources[i])
			}
		}
	}
	return nil
}
