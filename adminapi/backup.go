package adminapi

import (
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// backup answers GET backup with a consistent copy of the store. A slow reader
// holds no lock of the store.
func (c *call) backup() error {
	if c.r.Method == http.MethodHead {
		(&backupWriter{c: c}).begin()
		return nil
	}
	if err := c.tellBackup(); err != nil {
		return err
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

// tellBackup records the backup before it is made. Where the store cannot be
// written a backup may be the only way to save it: then the log tells of it.
func (c *call) tellBackup() error {
	err := c.keys.TellBackup(c.r.Context())
	for _, unwritable := range []error{keyring.ErrUnavailable, keyring.ErrFull, keyring.ErrUncertain} {
		if errors.Is(err, unwritable) {
			origin := audit.OriginOf(c.r.Context())
			c.logger.Error("a backup is made that the trail cannot tell of", zap.String("actor", origin.Actor),
				zap.String("address", origin.Address), zap.String("request_id", origin.RequestID), zap.Error(err))
			return nil
		}
	}
	return err
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
