package adminapi

import (
	"net/http"
	"time"

	"go.uber.org/zap"
)

// backup answers GET backup with a consistent copy of the store. A slow reader
// holds no lock of the store.
func (c *call) backup() error {
	if c.r.Method == http.MethodHead {
		(&backupWriter{c: c}).begin()
		return nil
	}
	w := &backupWriter{c: c}
	err := c.keys.Backup(c.r.Context(), w)
	if err == nil {
		w.begin()
		return nil
	}
	if !w.begun {
		return err
	}
	c.logger.Error("backup broken off", zap.Error(err))
	// The status is sent already. A connection that breaks is the only way left
	// to say that the copy is not whole.
	panic(http.ErrAbortHandler)
}

// backupWriter sends the headers with the first byte, so that a backup that
// fails before it is answered with a problem.
type backupWriter struct {
	c     *call
	begun bool
}

func (w *backupWriter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	w.c.w.Header().Set("Content-Type", "application/octet-stream")
	w.c.w.Header().Set("Content-Disposition", `attachment; filename="api_keys-`+time.Now().UTC().Format("20060102T150405Z")+`.db"`)
	w.c.w.WriteHeader(http.StatusOK)
}

func (w *backupWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.c.w.Write(p)
}
