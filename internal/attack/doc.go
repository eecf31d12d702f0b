// Package attack holds nothing but tests: attacks on the running server, over
// real sockets, each with the outcome that it must have. A case is named after
// its class and number in docs/security.md, which says what each one is about
// and where attacks of its kind have succeeded before.
package attack
