package keyring

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what a key or an org may hold. They bound the memory of the index
// and the size of every answer.
const (
	MaxNameLen         = 200  // bytes of name, owner, title
	MaxPurposeLen      = 1000 // bytes
	MaxLabelLen        = 64   // bytes of an org name, tier, role, tag, metadata name
	MaxScopes          = 100
	MaxRoles           = 20
	MaxTags            = 20
	MaxOrigins         = 50
	MaxMetadata        = 20  // entries
	MaxMetadataLen     = 500 // bytes of one value
	MaxCredentials     = 32  // in all, ended ones included; the oldest ended are dropped
	MaxLiveCredentials = 10
)

// validate checks everything about a key that a caller may have written, and
// brings lists into their one canonical form.
func (k *Key) validate() error {
	if k.Name == "" {
		return invalid("name", "missing; say what the key is for, such as \"CRM sync\"")
	}
	if k.Signing == "" {
		k.Signing = SigningOff
	}
	switch k.Signing {
	case SigningOff, SigningOptional, SigningRequired:
	default:
		return invalid("signing", "must be off, optional or required")
	}
	for _, err := range []error{
		checkText("name", k.Name, MaxNameLen),
		checkText("owner", k.Owner, MaxNameLen),
		checkText("purpose", k.Purpose, MaxPurposeLen),
		checkLabel("org", k.Org, true),
		checkLabel("tier", k.Tier, true),
		checkLabels("tags", k.Tags, MaxTags),
		checkLabels("roles", k.Roles, MaxRoles),
		checkScopes(k.Scopes),
		checkOrigins(k.Origins),
		checkClientCerts(k.ClientCerts),
		checkMetadata(k.Metadata),
		checkTime("not_before", k.NotBefore),
		checkTime("expires_at", k.ExpiresAt),
	} {
		if err != nil {
			return err
		}
	}
	if !k.ExpiresAt.IsZero() && !k.NotBefore.Before(k.ExpiresAt) {
		return invalid("expires_at", "not after not_before; the key could never be used")
	}
	for _, list := range []*[]string{&k.Scopes, &k.Roles, &k.Tags, &k.Origins} {
		*list = canonical(*list)
	}
	k.ClientCerts = canonicalFingerprints(k.ClientCerts)
	return checkLimits(&k.Limits)
}

// validate is Key.validate for an org.
func (o *Org) validate() error {
	for _, err := range []error{
		checkLabel("name", o.Name, false),
		checkText("title", o.Title, MaxNameLen),
		checkLabel("tier", o.Tier, true),
		checkMetadata(o.Metadata),
	} {
		if err != nil {
			return err
		}
	}
	return checkLimits(&o.Limits)
}

// canonical sorts a list and drops repetitions; sets of names are compared and
// interned in this form.
func canonical(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// checkText refuses what could break a header, a log line or a terminal.
func checkText(field, text string, limit int) error {
	if len(text) > limit {
		return invalid(field, "%d bytes, at most %d are possible", len(text), limit)
	}
	if !utf8.ValidString(text) {
		return invalid(field, "not valid UTF-8")
	}
	for i, r := range text {
		if !unicode.IsPrint(r) {
			return invalid(field, "character U+%04X at byte %d is not printable; leave it out", r, i)
		}
	}
	return checkNoToken(field, text)
}

// checkNoToken refuses a key in a text about a key. Of the key itself only the
// digest is kept; the text stands in lists, logs, events, backups and the trail.
func checkNoToken(field, text string) error {
	if HoldsToken(text) {
		return invalid(field, "holds an API key, which would be kept and shown in clear; leave it out, and rotate that key if others have seen it")
	}
	return nil
}

// checkLabel checks a short name that stands in configuration, URLs and
// metrics: letters, digits and . _ - only.
func checkLabel(field, label string, optional bool) error {
	if label == "" {
		if optional {
			return nil
		}
		return invalid(field, "missing; write a short name of letters, digits and . _ -")
	}
	if len(label) > MaxLabelLen {
		return invalid(field, "%d bytes, at most %d are possible", len(label), MaxLabelLen)
	}
	if i := strings.IndexFunc(label, func(r rune) bool {
		return r >= utf8.RuneSelf || !isAlnum(byte(r)) && !strings.ContainsRune("._-", r)
	}); i >= 0 {
		return invalid(field, "only letters, digits and . _ - are possible")
	}
	if label == "." || label == ".." {
		return invalid(field, "%q cannot be a name", label)
	}
	return checkNoToken(field, label)
}

// ValidateLabel checks the name of a tier, an org or a tag.
func ValidateLabel(field, label string) error { return checkLabel(field, label, false) }

func checkLabels(field string, labels []string, limit int) error {
	if len(labels) > limit {
		return invalid(field, "%d entries, at most %d are possible", len(labels), limit)
	}
	for i, l := range labels {
		if err := checkLabel(fmt.Sprintf("%s[%d]", field, i), l, false); err != nil {
			return err
		}
	}
	return nil
}

func checkScopes(scopes []string) error {
	if len(scopes) > MaxScopes {
		return invalid("scopes", "%d entries, at most %d are possible; use a wildcard or a role", len(scopes), MaxScopes)
	}
	for i, s := range scopes {
		field := fmt.Sprintf("scopes[%d]", i)
		if err := checkNoToken(field, s); err != nil {
			return err
		}
		if err := ValidateGrant(s); err != nil {
			return invalid(field, "%s", reasonOf(err))
		}
	}
	return nil
}

// checkOrigins asks for origins exactly as browsers send them, since they are
// compared byte for byte.
func checkOrigins(origins []string) error {
	if len(origins) > MaxOrigins {
		return invalid("origins", "%d entries, at most %d are possible", len(origins), MaxOrigins)
	}
	for i, o := range origins {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") ||
			o != u.Scheme+"://"+u.Host || o != strings.ToLower(o) || len(o) > MaxNameLen ||
			checkText("", o, MaxNameLen) != nil {
			return invalid(fmt.Sprintf("origins[%d]", i), "not an origin as a browser sends it; write scheme and host in lower case without a path, such as https://app.example.com")
		}
	}
	return nil
}

func checkMetadata(metadata map[string]string) error {
	if len(metadata) > MaxMetadata {
		return invalid("metadata", "%d entries, at most %d are possible", len(metadata), MaxMetadata)
	}
	for name, value := range metadata {
		if err := checkLabel("metadata", name, false); err != nil {
			return err
		}
		if err := checkText("metadata."+name, value, MaxMetadataLen); err != nil {
			return err
		}
	}
	return nil
}

func checkTime(field string, t time.Time) error {
	if !t.IsZero() && (t.Year() < 1970 || t.Year() > 9999) {
		return invalid(field, "year %d is outside 1970 to 9999", t.Year())
	}
	return nil
}

// reasonOf returns an InvalidError's reason, for wrapping under another field.
func reasonOf(err error) string {
	if e, ok := err.(*InvalidError); ok {
		return e.Reason
	}
	return err.Error()
}
