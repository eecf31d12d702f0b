package caddyapikey

import (
	"net/http"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

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
