package caddyapikey

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// masterKeyKeeper is a store with a place for a master key beside it, for those
// who configure none.
type masterKeyKeeper interface{ MasterKeyFile() string }

// masterKeyReference is how a master key may be configured. The key itself must
// not stand in a configuration: Caddy saves it, shows it and logs it.
var masterKeyReference = regexp.MustCompile(`^\{(file|env)\.[^{}]+\}$`)

func checkMasterKeyReference(text string) error {
	if !masterKeyReference.MatchString(text) {
		return errors.New("master_key: write where the key is, {file./path/to/it} or {env.NAME}, not the key itself")
	}
	return nil
}

// configuredSealer returns what the configured master keys make, nil if none are
// configured.
func (a *App) configuredSealer() (*keyring.Sealer, error) {
	if len(a.MasterKeys) == 0 {
		return nil, nil
	}
	repl := caddy.NewReplacer()
	var keys []keyring.Secret
	for _, reference := range a.MasterKeys {
		if err := checkMasterKeyReference(reference); err != nil {
			return nil, err
		}
		text, err := repl.ReplaceOrErr(reference, true, true)
		if err != nil {
			return nil, fmt.Errorf("master_key %s: it is missing, empty or cannot be read; make one with `openssl rand -base64 32`", reference)
		}
		keys = append(keys, keyring.NewSecret(text))
	}
	return keyring.NewSealer(keys...)
}

// useMasterKey finds the master key and makes sure that it opens what is
// sealed. Without a configured one it is the file beside the store, which is
// made if there is none and nothing is sealed yet.
func (a *App) useMasterKey(kr *keyring.Keyring) error {
	if sealer := a.sealer.Load(); sealer != nil {
		return kr.CheckSealed(sealer)
	}
	keeper, ok := a.store.(masterKeyKeeper)
	if !ok {
		return kr.CheckSealed(nil)
	}
	file := keeper.MasterKeyFile()
	key, err := readMasterKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		if kr.HasSealed() {
			return fmt.Errorf("the master key %s is missing, and the store holds shared secrets that only it opens; restore it from a backup, or name it with the option master_key", file)
		}
		key, err = makeMasterKey(file)
	}
	if err != nil {
		return err
	}
	sealer, err := keyring.NewSealer(key)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := kr.CheckSealed(sealer); err != nil {
		return fmt.Errorf("master key %s: %w", file, err)
	}
	a.sealer.Store(sealer)
	return nil
}

// readMasterKey reads a file that only its owner may read.
func readMasterKey(file string) (keyring.Secret, error) {
	info, err := os.Lstat(file)
	if err != nil {
		return keyring.Secret{}, err
	}
	switch {
	case !info.Mode().IsRegular():
		return keyring.Secret{}, fmt.Errorf("the master key %s is not a regular file; links are not followed", file)
	case info.Size() > 1024:
		return keyring.Secret{}, fmt.Errorf("the master key %s has %d bytes; that is no master key", file, info.Size())
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return keyring.Secret{}, fmt.Errorf("the master key %s may be read by others (mode %#o); run `chmod 600 %s`, and consider it known to whoever could read it", file, info.Mode().Perm(), file)
	}
	text, err := os.ReadFile(file)
	return keyring.NewSecret(string(text)), err
}

// makeMasterKey makes a master key and its file, durably and whole, before
// anything is sealed with it. Where two processes do so at once, both use the
// file of the first.
func makeMasterKey(file string) (keyring.Secret, error) {
	failed := func(err error) (keyring.Secret, error) {
		return keyring.Secret{}, fmt.Errorf("making the master key %s: %w", file, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".new-*") // 0600
	if err != nil {
		return failed(err)
	}
	defer os.Remove(tmp.Name())
	key := keyring.NewMasterKey()
	_, err = io.WriteString(tmp, key.Reveal()+"\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return failed(err)
	}
	if err := os.Link(tmp.Name(), file); err != nil { // fails if there is one
		if errors.Is(err, fs.ErrExist) {
			return readMasterKey(file)
		}
		return failed(err)
	}
	if dir, err := os.Open(filepath.Dir(file)); err == nil {
		defer dir.Close()
		if err := dir.Sync(); err != nil && runtime.GOOS != "windows" {
			return failed(err)
		}
	}
	return key, nil
}
