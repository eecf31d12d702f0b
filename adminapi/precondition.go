package adminapi

import (
	"math"
	"strconv"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// noRevision is one that no record has, for an entity tag that was never made
// here: it can only conflict.
const noRevision = math.MaxUint64

func etag(revision uint64) string {
	return `"` + strconv.FormatUint(revision, 10) + `"`
}

// ifMatch returns the revision that the caller asks a change to start from:
// AnyRevision without a precondition, and for * with exists set.
func (c *call) ifMatch() (revision uint64, exists bool, err error) {
	values := c.r.Header.Values("If-Match")
	if len(values) == 0 {
		return keyring.AnyRevision, false, nil
	}
	if len(values) == 1 && values[0] == "*" {
		return keyring.AnyRevision, true, nil
	}
	value := values[0]
	ok := len(values) == 1 && len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' &&
		!strings.ContainsAny(value[1:len(value)-1], "\" ,")
	if !ok {
		return 0, false, refusal(invalidPrecondition, `If-Match takes the ETag of one earlier answer, in its quotes, such as "7", or *.`)
	}
	revision, err = strconv.ParseUint(value[1:len(value)-1], 10, 64)
	if err != nil || revision == keyring.AnyRevision || etag(revision) != value {
		return noRevision, false, nil
	}
	return revision, false, nil
}

// revision is ifMatch for records that must exist anyway.
func (c *call) revision() (uint64, error) {
	revision, _, err := c.ifMatch()
	return revision, err
}

// record answers with one record and its entity tag, for the If-Match of a
// later change. There is no 304: nobody is to keep these answers (no-store).
func (c *call) record(status int, revision uint64, view any) error {
	c.w.Header().Set("ETag", etag(revision))
	c.write(status, "application/json", view)
	return nil
}
