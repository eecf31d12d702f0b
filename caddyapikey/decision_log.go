package caddyapikey

import (
	"net/http"
	"net/netip"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// tell counts a decision and tells it to the logs and, if a key was refused,
// to event handlers. enforced says that a refusal is one, and not only observed.
func (h *Handler) tell(r *http.Request, d *decision, enforced bool) {
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

// logRefusal says why a request was not let in, or would not have been. Callers
// who proved nothing are many and anonymous, so they are logged at debug level;
// a key of ours that is refused is worth an operator's look. The query is left
// out: it may hold a key. So may the rest, if a client is confused: keys that can
// be recognised are taken out, whatever the log's format.
func (h *Handler) logRefusal(r *http.Request, d *decision, enforced bool) {
	level, message := zapcore.DebugLevel, "refused"
	if d.why.proven || d.why == ruleFailed || d.why == notReady {
		level = zapcore.InfoLevel
	}
	if d.why == exposedKey {
		level = zapcore.WarnLevel // a secret that must not travel has travelled
	}
	if d.why == overLimit {
		level = zapcore.DebugLevel // routine, and as often as the caller likes; an event tells once an hour
	}
	if !enforced {
		level, message = zapcore.InfoLevel, "would be refused"
	}
	entry := h.logger.Check(level, message)
	if entry == nil {
		return
	}
	addr, _ := clientAddr(r)
	fields := []zap.Field{
		zap.String("reason", d.why.reason),
		zap.Int("status", d.why.status),
		zap.String("site", h.placeOf(r).site.name),
		zap.String("client", textOf(addr)),
		zap.String("method", scrubSecrets(r.Method)),
		zap.String("host", scrubSecrets(r.Host)),
		zap.String("path", scrubSecrets(r.URL.Path)),
		zap.Strings("rules", h.ruleNames(&d.rules)),
	}
	if d.denied != "" {
		fields = append(fields, zap.String("deny", d.denied))
	}
	if d.failed != nil {
		fields = append(fields, zap.String("check", d.failed.name))
	}
	if d.scope != "" {
		fields = append(fields, zap.String("required_scope", scrubSecrets(d.scope)))
	}
	if !d.key.IsZero() {
		fields = append(fields, zap.String("key", d.key.ID()), zap.String("org", d.key.Org()))
	}
	entry.Write(fields...)
}

// textOf writes a client's address.
func textOf(addr netip.Addr) string {
	if !addr.IsValid() {
		return "unknown"
	}
	return addr.String()
}

func (h *Handler) ruleNames(set *ruleSet) []string {
	var names []string
	for i, rule := range h.Rules {
		if set.has(i) {
			names = append(names, rule.Name)
		}
	}
	return names
}
