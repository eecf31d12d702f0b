package caddyapikey

import (
	"io"
	"net/http"
	"time"
)

// lingerTime is how long a refused client may go on sending.
const lingerTime = 500 * time.Millisecond

// linger reads what a refused client still sends of its body, for a moment. A
// connection that is closed with unread bytes is reset, and a client that is
// busy sending would see the reset and not the answer. The connection is closed
// afterwards in any case.
func linger(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Expect") != "" {
		return // it waits with the body until it has an answer
	}
	rc := http.NewResponseController(w)
	if rc.Flush() != nil || rc.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
}
