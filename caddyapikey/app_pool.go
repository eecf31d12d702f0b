package caddyapikey

import (
	"context"
	"errors"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// storeOpener is a module of the namespace api_keys.stores.
type storeOpener interface {
	// StoreKey names the store within the process: two modules with the same
	// name open the same store, whatever else differs.
	StoreKey() string
	// OpenStore opens it. It is called once for each name at a time.
	OpenStore() (keyring.Store, error)
}

// keyrings has the keyrings of the process by StoreKey. Old and new
// configuration overlap during a reload and must see the same keys.
var keyrings = caddy.NewUsagePool()

// pooled makes a keyring a value of the pool.
type pooled struct{ *keyring.Keyring }

// Destruct closes the keyring when the last configuration let go of it.
func (p pooled) Destruct() error { return p.Close() }

// openKeyring takes a reference to the store's keyring, which it opens if no
// other configuration has.
func openKeyring(ctx context.Context, store storeOpener) (*keyring.Keyring, error) {
	return takeKeyring(store, func() (caddy.Destructor, error) {
		opened, err := store.OpenStore()
		if err != nil {
			return nil, err
		}
		kr, err := keyring.Open(ctx, opened, keyring.Options{Committed: metrics.committed})
		if err != nil {
			return nil, err
		}
		return pooled{kr}, nil
	})
}

var errNotOpen = errors.New("not open")

// shareOpenKeyring takes a reference to the store's keyring if it is open, and
// returns nil otherwise.
func shareOpenKeyring(store storeOpener) *keyring.Keyring {
	if _, open := keyrings.References(store.StoreKey()); !open {
		return nil
	}
	kr, err := takeKeyring(store, func() (caddy.Destructor, error) { return nil, errNotOpen })
	if err != nil {
		return nil // closed in the meantime; Start opens it
	}
	return kr
}

func takeKeyring(store storeOpener, open func() (caddy.Destructor, error)) (*keyring.Keyring, error) {
	value, _, err := keyrings.LoadOrNew(store.StoreKey(), open)
	if err != nil {
		return nil, err
	}
	return value.(pooled).Keyring, nil
}

// releaseKeyring gives back a reference that was taken.
func releaseKeyring(store storeOpener) error {
	_, err := keyrings.Delete(store.StoreKey())
	return err
}
