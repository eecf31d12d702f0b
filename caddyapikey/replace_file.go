package caddyapikey

import (
	"errors"
	"io"
	"os"

	"github.com/caddy-apikey/caddy-apikey/internal/regular"
)

// replaceFile writes a file whole or not at all.
func replaceFile(path string, write func(io.Writer) error) error {
	tmp, err := regular.Create(path + ".new")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(write(tmp), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
