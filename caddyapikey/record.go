package caddyapikey

import (
	"net/http"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// record counts a decision and tells it to the logs and, if a key was refused,
// to event handlers. enforced says that a refusal is one, and not only observed.
func (h *Handler) record(r *http.Request, d *decision, enforced bool) {
	p := h.placeOf(r)
	p.site.count(d, enforced)
	if p.logged {
		h.addLogFields(r, d)
	}
	if d.why == nil {
		return
	}
	h.logRefusal(r, d, enforced)
	if !d.key.IsZero() {
		h.app.announcer.refused(r, d, p.site.name, h.Mode)
	}
}

// logFields is what the access log says of a decision. It is written when the
// log is, so that a filtered log costs nothing.
type logFields struct {
	h     *Handler
	why   *refusal
	key   keyring.Proven
	rules ruleSet

	limits []string // that had no room
}

func (h *Handler) addLogFields(r *http.Request, d *decision) {
	extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	if ok {
		extra.Add(zap.Inline(&logFields{h, d.why, d.key, d.rules, d.violated()}))
	}
}

// MarshalLogObject writes the fields. Caddy itself writes user_id, the key that
// was let in; a key that was refused stands under another name, so that nobody
// takes it for an authenticated user. What proved nothing stands nowhere.
func (f *logFields) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	if f.why != nil {
		enc.AddString("api_key_reason", f.why.reason)
	}
	if !f.key.IsZero() {
		if f.why != nil {
			enc.AddString("api_key_refused", f.key.ID())
		}
		if org := f.key.Org(); org != "" {
			enc.AddString("api_key_org", org)
		}
	}
	if len(f.limits) > 0 {
		zap.Strings("api_key_limits", f.limits).AddTo(enc)
	}
	if names := f.h.ruleNames(&f.rules); len(names) > 0 {
		zap.Strings("api_key_rule", names).AddTo(enc)
	}
	return nil
}
