// Package keyring is the domain of caddy-apikey: keys, the credentials that
// prove them, the orgs they belong to, and [Keyring], the service that verifies
// credentials and changes keys.
//
// It knows no HTTP and no Caddy. Durable state is behind [Store], which this
// package defines and store/* implements. A request is answered from an
// immutable in-memory index only; the index is fed by the store's Snapshot and
// Watch, and a change is in it before the call that made the change returns.
//
// It never keeps, logs or returns a plaintext token: only the answer to
// [Keyring.Create], [Keyring.Rotate] and [Keyring.AddCredential] carries the
// new one, as a [Secret], which prints as "[secret]".
//
// Read key.go for the words, keyring.go for the service, verify.go for the
// request path, store.go for the storage contract.
package keyring
