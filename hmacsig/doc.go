// Package hmacsig signs HTTP requests and verifies them, by two schemes: Hawk
// 1.1 and HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530).
//
// Both begin with a claim: what the request says about itself, parsed and not
// yet believed. It names a key; who looks the key up decides what algorithm it
// has, never the request. Verifying the claim with that key gives a proof, whose
// type no other code can make. A proof still has to be fresh, its body has to
// have the digest that was signed, and its nonce must not have been spent before;
// the steps are apart, because the caller stands between them: it must not read
// a body for a stranger, nor spend a nonce that nobody proved.
//
//	parse → key → signature → time → body → nonce
//
// A request is verified as the client sent it, see [Request]: before rewrites,
// with the name and scheme under which the client called.
//
// [Transport] is the client's side: it signs what an http.Client sends.
//
// The package needs nothing but the standard library. It keeps no keys and no
// clock; spent nonces are kept in a [NonceRing], which is the caller's.
package hmacsig
