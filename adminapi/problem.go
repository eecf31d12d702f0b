package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// problemDocs explains every kind of problem, under a heading of its slug.
const problemDocs = "https://github.com/caddy-apikey/caddy-apikey/blob/main/docs/problems.md#"

// kind is what the problems of one type have in common.
type kind struct {
	status int
	slug   string
	title  string
}

// The kinds of problem.
var (
	invalidBody         = kind{http.StatusBadRequest, "invalid-body", "The body cannot be read"}
	invalidField        = kind{http.StatusBadRequest, "invalid-field", "A field is wrong"}
	invalidQuery        = kind{http.StatusBadRequest, "invalid-query", "The query is wrong"}
	invalidHeader       = kind{http.StatusBadRequest, "invalid-header", "A header field is wrong"}
	invalidPrecondition = kind{http.StatusBadRequest, "invalid-precondition", "The precondition cannot be read"}
	unsafeListener      = kind{http.StatusForbidden, "unsafe-listener", "Not managed on this listener"}
	notFound            = kind{http.StatusNotFound, "not-found", "Not found"}
	notConfigured       = kind{http.StatusNotFound, "not-configured", "API keys are not configured"}
	noLockout           = kind{http.StatusNotFound, "no-lockout", "No lockout is configured"}
	methodNotAllowed    = kind{http.StatusMethodNotAllowed, "method-not-allowed", "Method not allowed"}
	slowBody            = kind{http.StatusRequestTimeout, "slow-body", "The body did not arrive in time"}
	conflict            = kind{http.StatusConflict, "conflict", "Changed at the same time"}
	alreadyExists       = kind{http.StatusConflict, "already-exists", "Already exists"}
	wrongState          = kind{http.StatusConflict, "wrong-state", "Not possible in this state"}
	recentlyUsed        = kind{http.StatusConflict, "recently-used", "Used lately"}
	preconditionFailed  = kind{http.StatusPreconditionFailed, "precondition-failed", "Changed in the meantime"}
	tooLarge            = kind{http.StatusRequestEntityTooLarge, "too-large", "The body is too large"}
	notJSON             = kind{http.StatusUnsupportedMediaType, "not-json", "The body is not declared as JSON"}
	internalError       = kind{http.StatusInternalServerError, "internal", "Internal error"}
	outcomeUnknown      = kind{http.StatusServiceUnavailable, "outcome-unknown", "The outcome is unknown"}
	masterKey           = kind{http.StatusServiceUnavailable, "master-key", "The master key does not fit"}
	storeUnavailable    = kind{http.StatusServiceUnavailable, "store-unavailable", "The store is unavailable"}
	useUnavailable      = kind{http.StatusServiceUnavailable, "use-unavailable", "The record of use is unavailable"}
	notRunning          = kind{http.StatusServiceUnavailable, "not-running", "The keys are not loaded"}
	busy                = kind{http.StatusServiceUnavailable, "busy", "Busy"}
	cancelled           = kind{http.StatusServiceUnavailable, "cancelled", "Cancelled"}
	lockoutsFull        = kind{http.StatusInsufficientStorage, "lockouts-full", "Too many locks"}
	storeFull           = kind{http.StatusInsufficientStorage, "store-full", "The store is full"}
)

// problem is a refusal, answered as RFC 9457 problem+json.
type problem struct {
	kind
	detail string
	field  string // what is wrong, as the caller wrote it; "" if it is no field
	faults []fault
	recent *recentUseView // the use that a change would break
	header http.Header
	cause  error // for the log only
}

// fault is one of several mistakes in one body.
type fault struct {
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail"`
}

func (p *problem) Error() string { return p.title + ": " + p.detail }

func refusal(k kind, detail string, args ...any) *problem {
	return &problem{kind: k, detail: fmt.Sprintf(detail, args...)}
}

// badField is the refusal of one field of the body.
func badField(field, reason string, args ...any) *problem {
	p := refusal(invalidField, reason, args...)
	p.field = field
	return p
}

// refuse answers with the problem that err is. The texts of the keyring's own
// errors are made for the operator and never hold a secret; any other error
// goes to the log only.
func (c *call) refuse(err error) {
	p := problemOf(err, c.r.Header.Get("If-Match") != "")
	if p.status >= http.StatusInternalServerError && p.cause != nil && p.kind != cancelled {
		c.logger.Error("management request failed",
			zap.String("method", c.r.Method),
			zap.String("path", c.r.URL.Path),
			zap.String("request_id", c.w.Header().Get("X-Request-Id")),
			zap.Int("status", p.status),
			zap.NamedError("cause", p.cause))
	}
	for name, values := range p.header {
		c.w.Header()[name] = values
	}
	if p.status == http.StatusServiceUnavailable {
		c.w.Header().Set("Retry-After", "1")
	}
	c.write(p.status, "application/problem+json", struct {
		Type   string         `json:"type"`
		Title  string         `json:"title"`
		Status int            `json:"status"`
		Detail string         `json:"detail"`
		Field  string         `json:"field,omitempty"`
		Errors []fault        `json:"errors,omitempty"`
		Recent *recentUseView `json:"recent_use,omitempty"`
	}{problemDocs + p.slug, p.title, p.status, p.detail, p.field, p.faults, p.recent})
}

// problemOf is the one table from errors to answers.
func problemOf(err error, conditional bool) *problem {
	var (
		p     *problem
		bad   *keyring.InvalidError
		entry *keyring.EntryError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &bad):
		p = badField(bad.Field, "%s", bad.Reason)
		p.faults = faultsOf(err)
	case errors.Is(err, keyring.ErrUncertain):
		p = refusal(outcomeUnknown, "It is not known whether this was done. Repeat the request; do not conclude from reading the record.")
	case errors.Is(err, keyring.ErrNotFound):
		p = refusal(notFound, "%s.", sentence(err))
	case errors.Is(err, keyring.ErrConflict) && conditional:
		p = refusal(preconditionFailed, "%s. Read it again, and repeat with its new ETag if the change is still wanted.", sentence(err))
	case errors.Is(err, keyring.ErrConflict):
		p = refusal(conflict, "%s. Repeat the request.", sentence(err))
	case errors.Is(err, keyring.ErrExists):
		if p = refusal(alreadyExists, "%s.", sentence(err)); errors.As(err, &entry) {
			p = refusal(alreadyExists, "%s.", sentence(entry.Err))
			p.field, p.faults = entry.Entry, faultsOf(err)
		}
	case errors.Is(err, keyring.ErrState):
		p = refusal(wrongState, "%s.", sentence(err))
	case errors.Is(err, keyring.ErrSealed):
		p = refusal(masterKey, "Nothing was changed: %v. See the option master_key.", err)
	case errors.Is(err, keyring.ErrFull):
		p = refusal(storeFull, "Nothing was changed: %v.", err)
	case errors.Is(err, keyring.ErrUnavailable), errors.Is(err, keyring.ErrDamaged):
		p = refusal(storeUnavailable, "Nothing was changed: %v.", err)
	case errors.Is(err, keyring.ErrClosed):
		p = refusal(notRunning, "Nothing was changed: the configuration is being replaced. Try again in a moment.")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p = refusal(cancelled, "The request was given up before it was done. Repeat it.")
	default:
		p = refusal(internalError, "Something went wrong that is not the request's fault; Caddy's log says what.")
	}
	p.cause = err
	return p
}

// sentence writes an error's text as the beginning of a sentence, see plainText.
func sentence(err error) string {
	text := plainText(err)
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}

// plainText is an error's text without the sentinel at its end, which the
// problem's title says: unless there is only a name in front of it.
func plainText(err error) string {
	text := err.Error()
	for _, sentinel := range []error{keyring.ErrNotFound, keyring.ErrExists, keyring.ErrState} {
		if rest, ok := strings.CutSuffix(text, ": "+sentinel.Error()); ok && strings.Contains(rest, " ") {
			return rest
		}
	}
	return text
}

// faultsOf takes an error of several apart; of a single one there is nothing
// to add.
func faultsOf(err error) []fault {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) < 2 {
		return nil
	}
	var faults []fault
	for _, e := range joined.Unwrap() {
		var (
			bad   *keyring.InvalidError
			entry *keyring.EntryError
		)
		switch {
		case errors.As(e, &bad):
			faults = append(faults, fault{bad.Field, bad.Reason})
		case errors.As(e, &entry) && errors.Is(e, keyring.ErrExists):
			faults = append(faults, fault{entry.Entry, plainText(entry.Err)})
		default:
			return nil // not about the body alone
		}
	}
	return faults
}

// write sends one JSON document.
func (c *call) write(status int, contentType string, body any) {
	text, err := json.Marshal(body, json.Deterministic(true))
	if err != nil { // a name or text that is not UTF-8, which validation forbids
		c.logger.Error("encoding an answer", zap.Error(err))
		status, contentType = http.StatusInternalServerError, "application/problem+json"
		text = []byte(`{"type":"` + problemDocs + internalError.slug + `","title":"` + internalError.title + `","status":500,"detail":"The answer could not be encoded; Caddy's log says why."}`)
	}
	c.w.Header().Set("Content-Type", contentType)
	c.w.WriteHeader(status)
	_, _ = c.w.Write(append(text, '\n')) // a client that has gone is no fault
}
