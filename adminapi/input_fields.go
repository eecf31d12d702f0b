package adminapi

import (
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

func setText[S ~string](dst *S, m member[text]) {
	if m.present {
		*dst = S(m.value)
	}
}

func setList(dst *[]string, m member[[]text]) {
	if !m.present {
		return
	}
	*dst = plain(m.value)
}

func plain(list []text) []string {
	texts := make([]string, len(list))
	for i, t := range list {
		texts[i] = string(t)
	}
	return texts
}

func setMap(dst *map[string]string, m member[map[string]text]) {
	if !m.present {
		return
	}
	*dst = make(map[string]string, len(m.value))
	for name, value := range m.value {
		(*dst)[name] = string(value)
	}
}

func setTime(dst *time.Time, m nullable[instant]) {
	if m.present {
		*dst = time.Time(m.value)
	}
}

func setAddrs(dst *[]netip.Prefix, field string, m member[[]text]) error {
	if !m.present {
		return nil
	}
	list, err := keyring.ParseAddrs(field, plain(m.value))
	if err != nil {
		return err
	}
	*dst = list
	return nil
}

// instant is a time as RFC 3339 writes it.
type instant time.Time

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *instant) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	var written text
	if err := written.UnmarshalJSONFrom(dec); err != nil {
		return misfit("must be a time in quotes such as \"2030-01-31T12:00:00Z\", or null for none")
	}
	if written == "" {
		return misfit("must be a time such as \"2030-01-31T12:00:00Z\"; write null for none")
	}
	parsed, err := parseTime(string(written))
	*t = instant(parsed)
	return err
}

// timeForm is the form of RFC 3339. Go's own parser also takes hours of one
// digit, a comma in place of the point, and offsets of a day.
var timeForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// parseTime reads RFC 3339 with any offset, to the millisecond. The years that
// no key lives in are refused here already: the first instant of year 1 is Go's
// zero time, which would mean "no limit".
func parseTime(written string) (time.Time, error) {
	var t time.Time
	written = strings.ToUpper(written)
	if err := t.UnmarshalText([]byte(written)); err != nil || !timeForm.MatchString(written) {
		return t, misfit("must be a time in the form of RFC 3339, such as 2030-01-31T12:00:00Z")
	}
	if t = t.UTC().Truncate(time.Millisecond); t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, misfit("must be a time between the years 1970 and 9999")
	}
	return t, nil
}
