package bolt

import "slices"

// SchemaRecord is the schema record of a store of another version.
func SchemaRecord(version uint32) []byte {
	return (&schema{version: version}).encode()
}

// LedgerSchemaRecord is the schema record of a ledger of another version.
func LedgerSchemaRecord(version uint32) []byte { return ledgerSchema(version) }

// SealTrail seals the content of an entry of a trail.
func SealTrail(k, payload []byte) []byte { return seal(bucketTrail, k, slices.Clip(payload)) }

// LedgerStatePurged is a state record that says that the trail begins later.
func LedgerStatePurged(value []byte, purged uint64, hash [32]byte) []byte {
	var s ledgerState
	if err := s.decode(value); err != nil {
		panic(err)
	}
	s.trail.Purged, s.trail.PurgedHash = purged, hash
	return s.encode()
}
