package bolt

import (
	"fmt"
	"os"
)

// checkAlways is up to which size in bytes a ledger's pages are checked whenever
// it is opened, which takes some milliseconds for each 10 MiB.
const checkAlways = 256 << 20

// check checks the file f before it is mapped. A wrong page can make bbolt walk
// in circles until the process has no memory left, which no guard ends: so that
// this cannot happen at one start after the other, all pages are checked if the
// ledger was not closed in order.
func (l *Ledger) check(f *os.File) (m meta, err error) {
	unread := func(err error) error {
		return fmt.Errorf("store %s: cannot be read: %w. Check the disk and restart Caddy", l.path, err)
	}
	m, err = newestMeta(f)
	if isReadError(err) {
		return m, unread(err)
	}
	if err != nil {
		return m, l.damaged("it is no database any more (%v)", err)
	}
	st, err := f.Stat()
	if err != nil {
		return m, unread(err)
	}
	if st.Size() < m.size() {
		return m, l.damaged("truncated: it has %d of %d bytes", st.Size(), m.size())
	}
	c := newChecker(f, m)
	c.only = bucketMeta
	if err = c.run(); err == nil && c.state != nil && (m.size() <= checkAlways || !closedInOrder(c.state)) {
		c = newChecker(f, m)
		c.nested = bucketDays
		err = c.run()
	}
	if isReadError(err) {
		return m, unread(err)
	}
	if err != nil {
		return m, l.damaged("%v", err)
	}
	return m, nil
}

// closedInOrder tells by the state record; load says what is wrong with it.
func closedInOrder(state []byte) bool {
	var s ledgerState
	return s.decode(state) == nil && s.clean
}
