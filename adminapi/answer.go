package adminapi

import (
	"net/http"
	"time"
)

// answerWait is how long a client may take nothing of an answer. Caddy's admin
// endpoint sets no limit, and what waits for such a client may hold up others:
// an erasure waits until nobody reads the counters. Tests cannot wait so long.
var answerWait = time.Minute

// answerPart is how much has to be taken within that time, in bytes.
const answerPart = 64 << 10

// answer writes to a client that is given up when it takes nothing for too long.
type answer struct{ http.ResponseWriter }

// Write fails when the client has taken nothing for answerWait.
func (a *answer) Write(p []byte) (n int, err error) {
	for {
		a.extend()
		part := p[n:min(n+answerPart, len(p))]
		written, err := a.ResponseWriter.Write(part)
		if n += written; err != nil || n == len(p) {
			return n, err
		}
	}
}

// FlushError is Write for what was written already.
func (a *answer) FlushError() error {
	a.extend()
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController set deadlines.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) extend() {
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(answerWait))
}
