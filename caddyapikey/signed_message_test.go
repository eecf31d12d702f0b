package caddyapikey

import "testing"

func TestMaskFields(t *testing.T) {
	const base = "\"@method\": GET\n\"cookie\": session=secret: x\n\"content-digest\": sha-256=:AA==:\n\"x-empty\": \n\"@signature-params\": (\"@method\" \"cookie\")"
	const want = "\"@method\": GET\n\"cookie\": [17 bytes]\n\"content-digest\": sha-256=:AA==:\n\"x-empty\": [0 bytes]\n\"@signature-params\": (\"@method\" \"cookie\")"
	if got := maskFields(base); got != want {
		t.Errorf("masked to\n%s", got)
	}
}
