package caddyapikey

// ForgetAuditDown has it told anew that calls cannot be recorded: tests share
// the process, and its pause.
func ForgetAuditDown() {
	auditDownEvents.mu.Lock()
	defer auditDownEvents.mu.Unlock()
	clear(auditDownEvents.kinds)
}

// ForgetRefusals has every refusal of a key told anew.
func ForgetRefusals() { refusalEvents.takeUntold(true) }
