package keyring

import (
	"context"
	"io"
	"slices"

	"github.com/caddy-apikey/caddy-apikey/audit"
)

// The actions in the trail.
const (
	actionCreate         = "key.create"
	actionEdit           = "key.edit"
	actionRotate         = "key.rotate"
	actionSuspend        = "key.suspend"
	actionResume         = "key.resume"
	actionRevoke         = "key.revoke"
	actionDelete         = "key.delete"
	actionAddCredential  = "credential.add"
	actionEndCredential  = "credential.end"
	actionCancelRotation = "rotation.cancel"
	actionImport         = "import"
	actionRevokeLeaked   = "identify.revoke"
	actionReseal         = "reseal"
	actionCreateOrg      = "org.create"
	actionEditOrg        = "org.edit"
	actionSuspendOrg     = "org.suspend"
	actionResumeOrg      = "org.resume"
	actionBackup         = "backup"
	actionErase          = "erase"
)

// Actions lists every action that the trail of management actions tells of.
var Actions = []string{
	actionCreate, actionEdit, actionRotate, actionSuspend, actionResume, actionRevoke, actionDelete,
	actionAddCredential, actionEndCredential, actionCancelRotation, actionImport, actionRevokeLeaked, actionReseal,
	actionCreateOrg, actionEditOrg, actionSuspendOrg, actionResumeOrg, actionBackup, actionErase, audit.ActionPurge,
}

// keyEntry is the entry of a change of a key; before is nil for a new one.
func keyEntry(ctx context.Context, action string, before, after *Key) audit.Draft {
	a := audit.Action{Name: action, Key: after.ID, Org: after.Org, Revision: after.Revision}
	if before == nil {
		before = new(Key)
	}
	a.Changes, a.Personal = changesOfKey(before, after)
	if n := len(after.Credentials); n > 0 && (n > len(before.Credentials) || after.Credentials[n-1].N != before.Credentials[len(before.Credentials)-1].N) {
		a.Credential = after.Credentials[n-1].N
	}
	if a.Credential == 0 && action == actionEndCredential {
		for i, c := range after.Credentials {
			if !c.EndedAt.Equal(before.Credentials[i].EndedAt) {
				a.Credential = c.N
			}
		}
	}
	return a.Draft(ctx, after.UpdatedAt)
}

// orgEntry is the entry of a change of an org.
func orgEntry(ctx context.Context, action string, before, after *Org) audit.Draft {
	a := audit.Action{Name: action, Org: after.Name, Revision: after.Revision}
	if before.Revision == 0 {
		before = new(Org)
	}
	c := newComparison()
	compare(c.plain, "state", text(before.State), text(after.State))
	compare(c.plain, "tier", text(before.Tier), text(after.Tier))
	compare(c.personal, "title", text(before.Title), text(after.Title))
	compareLists(c.personal, "allow", rangeTexts(before.Allow), rangeTexts(after.Allow))
	compareLists(c.personal, "deny", rangeTexts(before.Deny), rangeTexts(after.Deny))
	compareMaps(c.personal, "metadata", before.Metadata, after.Metadata)
	a.Changes, a.Personal = c.plain, c.personal
	return a.Draft(ctx, after.UpdatedAt)
}

// importEntries are the entries of an import: the keys are as they were imported
// until other entries tell of a change.
func importEntries(ctx context.Context, keys []*Key) (entries []audit.Draft) {
	for some := range slices.Chunk(keys, audit.MaxKeys) {
		a := audit.Action{Name: actionImport, Count: len(keys)}
		for _, key := range some {
			a.Keys = append(a.Keys, key.ID)
		}
		entries = append(entries, a.Draft(ctx, some[0].CreatedAt))
	}
	return entries
}

// Trail returns the trail of management actions.
func (k *Keyring) Trail() audit.Trail { return k.store }

// TellBackup records that somebody asks for a backup, which has everything but
// the master key.
func (k *Keyring) TellBackup(ctx context.Context) error {
	return k.apply(ctx, nil, audit.Action{Name: actionBackup}.Draft(ctx, k.clock.time()))
}

// Backup writes a consistent copy of the store to w.
func (k *Keyring) Backup(ctx context.Context, w io.Writer) error { return k.store.Backup(ctx, w) }
