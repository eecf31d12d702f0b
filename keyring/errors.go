package keyring

import (
	"errors"
	"fmt"
)

// Errors of the keyring and of every store. They are compared with errors.Is;
// a store wraps them with what it knows.
var (
	// ErrNotFound: no key, org or credential of that name.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the record has another revision than the caller saw. Nothing
	// was changed; read it again.
	ErrConflict = errors.New("changed by somebody else in the meantime")
	// ErrExists: the id, org name or credential is taken, also by a revoked or
	// deleted key. Nothing was changed.
	ErrExists = errors.New("already exists")
	// ErrState: the state machine forbids the change. Nothing was changed.
	ErrState = errors.New("not possible in this state")
	// ErrUncertain: the outcome of a write is not known. It may have happened;
	// the caller writes again and never concludes from a read.
	ErrUncertain = errors.New("outcome of the write is unknown")
	// ErrFull: the disk or the store's size limit is reached. Nothing was changed.
	ErrFull = errors.New("no space left for the store")
	// ErrUnavailable: the store cannot be written or read now. Nothing was changed.
	ErrUnavailable = errors.New("store unavailable")
	// ErrDamaged: the store's content is not what was written.
	ErrDamaged = errors.New("store damaged")
	// ErrForked: the cursor is not part of this store's history.
	ErrForked = errors.New("store history does not contain this cursor")
	// ErrBehind: the cursor is part of the history but too old to resume from;
	// take a new snapshot.
	ErrBehind = errors.New("cursor too old, take a new snapshot")
	// ErrSealed: a shared secret cannot be opened, because its master key is
	// missing or the record was changed.
	ErrSealed = errors.New("shared secret cannot be opened")
	// ErrClosed: the keyring or store was closed.
	ErrClosed = errors.New("closed")
)

// InvalidError says which field of the caller's input is wrong, and how to
// mend it. It never holds a secret.
type InvalidError struct {
	Field  string // as the management API names it, e.g. "allow[2]"
	Reason string // what is wrong and what to write instead
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}
