package bolt

// SchemaRecord is the schema record of a store of another version.
func SchemaRecord(version uint32) []byte {
	return (&schema{version: version}).encode()
}

// LedgerSchemaRecord is the schema record of a ledger of another version.
func LedgerSchemaRecord(version uint32) []byte { return ledgerSchema(version) }
