package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-apikey/caddy-apikey/audit"
	"github.com/caddy-apikey/caddy-apikey/internal/milli"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

var (
	bucketDays    = []byte("days")
	bucketRoutes  = []byte("routes")
	bucketReasons = []byte("reasons")
	bucketLast    = []byte("last")
	bucketPlaces  = []byte("places")
	bucketScopes  = []byte("scopes")
	bucketCalls   = []byte("calls")
	bucketGaps    = []byte("gaps")
)

var ledgerBuckets = [][]byte{bucketMeta, bucketDays, bucketRoutes, bucketReasons, bucketLast, bucketPlaces, bucketScopes, bucketCalls, bucketGaps, bucketTrail}

// ledgerMagic and ledgerVersion say what the file is.
const (
	ledgerMagic   = "caddy-apikey-ledger"
	ledgerVersion = 1
)

// ledgerState is the record that every commit replaces.
type ledgerState struct {
	created time.Time // when the ledger was
	since   time.Time // nothing older is kept
	rolled  time.Time // days before this one have one row instead of one for each hour
	added   time.Time // when something was added last
	batch   [16]byte  // the last one
	calls   uint64
	clean   bool // it was closed
	trail   audit.Chain
}

const ledgerStateLen = 4*8 + 16 + 8 + 1 + audit.ChainLen

func (s *ledgerState) encode() []byte {
	b := make([]byte, 0, ledgerStateLen+sumSize)
	for _, t := range []time.Time{s.created, s.since, s.rolled, s.added} {
		b = binary.BigEndian.AppendUint64(b, uint64(milli.Of(t)))
	}
	b = append(b, s.batch[:]...)
	b = binary.BigEndian.AppendUint64(b, s.calls)
	clean := byte(0)
	if s.clean {
		clean = 1
	}
	b = append(b, clean)
	b, _ = s.trail.AppendBinary(b) // never fails
	return seal(bucketMeta, metaState, b)
}

func (s *ledgerState) decode(value []byte) error {
	b, err := unseal(bucketMeta, metaState, value)
	if err != nil {
		return err
	}
	if len(b) != ledgerStateLen {
		return errors.New("wrong length")
	}
	for _, t := range []*time.Time{&s.created, &s.since, &s.rolled, &s.added} {
		*t = milli.Time(int64(binary.BigEndian.Uint64(b)))
		b = b[8:]
	}
	b = b[copy(s.batch[:], b):]
	s.calls, s.clean = binary.BigEndian.Uint64(b), b[8] == 1
	return s.trail.UnmarshalBinary(b[9:])
}

// ledgerSchema is the record that says what the file is.
func ledgerSchema(version uint32) []byte {
	return seal(bucketMeta, metaSchema, binary.BigEndian.AppendUint32([]byte(ledgerMagic), version))
}

// buildLedger writes an empty ledger into the empty file path.
func buildLedger(path string, now time.Time) (err error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: defaultTimeout, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range ledgerBuckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		if err := meta.Put(metaSchema, ledgerSchema(ledgerVersion)); err != nil {
			return err
		}
		state := ledgerState{created: now.UTC(), since: now.UTC(), added: now.UTC(), clean: true}
		return meta.Put(metaState, state.encode())
	})
}

// load reads what the file says of itself.
func (l *Ledger) load(tx *bbolt.Tx) error {
	for _, name := range ledgerBuckets {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("store %s: is not a ledger: it has no bucket %s. Move it away: mv %s %s", l.path, name, quote(l.path), quote(l.path+".other"))
		}
	}
	meta := tx.Bucket(bucketMeta)
	schema, err := unseal(bucketMeta, metaSchema, meta.Get(metaSchema))
	if err != nil || len(schema) != len(ledgerMagic)+4 || string(schema[:len(ledgerMagic)]) != ledgerMagic {
		return l.damaged("schema record damaged")
	}
	if version := binary.BigEndian.Uint32(schema[len(ledgerMagic):]); version > ledgerVersion {
		return fmt.Errorf("store %s: was written by a newer version (schema %d, this one knows %d). Run that version, or move it away: mv %s %s",
			l.path, version, ledgerVersion, quote(l.path), quote(l.path+".newer"))
	}
	if err := l.state.decode(meta.Get(metaState)); err != nil {
		return l.damaged("state record damaged: %v", err)
	}
	if err := l.names.load(tx); err != nil {
		return l.damaged("names damaged: %v", err)
	}
	return nil
}

// Bounds of what is numbered. A program has few reasons; routes come from
// configurations.
const (
	maxLedgerRoutes  = 1 << 16
	maxLedgerReasons = 1 << 10
)

// ledgerNames numbers routes and reasons, from 1 on. 0 is none, or one too many.
type ledgerNames struct {
	routes, reasons names
}

type names struct {
	bucket  []byte
	most    int
	numbers map[string]uint32
	list    []string
}

func (n *ledgerNames) mark() [2]int { return [2]int{len(n.routes.list), len(n.reasons.list)} }

// reset forgets what was not committed.
func (n *ledgerNames) reset(mark [2]int) {
	n.routes.reset(mark[0])
	n.reasons.reset(mark[1])
}

func (n *names) reset(length int) {
	for _, name := range n.list[length:] {
		delete(n.numbers, name)
	}
	n.list = n.list[:length]
}

func (n *ledgerNames) load(tx *bbolt.Tx) error {
	n.routes = names{bucket: bucketRoutes, most: maxLedgerRoutes}
	n.reasons = names{bucket: bucketReasons, most: maxLedgerReasons}
	if err := n.routes.load(tx); err != nil {
		return err
	}
	return n.reasons.load(tx)
}

func (n *names) load(tx *bbolt.Tx) error {
	n.numbers = make(map[string]uint32)
	return tx.Bucket(n.bucket).ForEach(func(k, v []byte) error {
		name, err := unseal(n.bucket, k, v)
		if err != nil || len(k) != 4 || binary.BigEndian.Uint32(k) != uint32(len(n.list)+1) {
			return fmt.Errorf("entry %x: %w", k, errors.Join(err, errors.New("out of order")))
		}
		n.list = append(n.list, string(name))
		n.numbers[string(name)] = uint32(len(n.list))
		return nil
	})
}

// number returns the number of a name, which it gets if there is room.
func (n *names) number(tx *bbolt.Tx, name string) (uint32, error) {
	if name == "" {
		return 0, nil
	}
	if no, ok := n.numbers[name]; ok {
		return no, nil
	}
	if len(n.list) >= n.most {
		return 0, nil
	}
	no := uint32(len(n.list) + 1)
	key := binary.BigEndian.AppendUint32(nil, no)
	if err := tx.Bucket(n.bucket).Put(key, seal(n.bucket, key, []byte(name))); err != nil {
		return 0, err
	}
	n.list = append(n.list, name)
	n.numbers[name] = no
	return no, nil
}

// routeSep parts a route's site, method and rules; no name has it.
const routeSep = "\x00"

func routeText(r usage.Route) string {
	if r.Site == "" && r.Method == "" && len(r.Rules) == 0 {
		return ""
	}
	return strings.Join(append([]string{r.Site, r.Method}, r.Rules...), routeSep)
}

func parseRoute(text string) usage.Route {
	if text == "" {
		return usage.Route{}
	}
	parts := strings.Split(text, routeSep)
	return usage.Route{Site: parts[0], Method: parts[1], Rules: parts[2:]}
}

// namesIn are the names as a read transaction sees them.
type namesIn struct {
	tx      *bbolt.Tx
	routes  map[uint32]usage.Route
	reasons map[uint32]string
}

func newNamesIn(tx *bbolt.Tx) *namesIn {
	return &namesIn{tx, make(map[uint32]usage.Route), map[uint32]string{0: ""}}
}

func (n *namesIn) text(bucket []byte, no uint32) (string, error) {
	key := binary.BigEndian.AppendUint32(nil, no)
	name, err := unseal(bucket, key, n.tx.Bucket(bucket).Get(key))
	return string(name), err
}

func (n *namesIn) route(no uint32) (usage.Route, error) {
	if r, ok := n.routes[no]; ok || no == 0 {
		return r, nil
	}
	text, err := n.text(bucketRoutes, no)
	if err == nil && !strings.Contains(text, routeSep) {
		err = errors.New("not a route")
	}
	if err != nil {
		return usage.Route{}, fmt.Errorf("route %d: %w", no, err)
	}
	r := parseRoute(text)
	n.routes[no] = r
	return r, nil
}

func (n *namesIn) reason(no uint32) (string, error) {
	if reason, ok := n.reasons[no]; ok {
		return reason, nil
	}
	text, err := n.text(bucketReasons, no)
	if err != nil {
		return "", fmt.Errorf("reason %d: %w", no, err)
	}
	n.reasons[no] = text
	return text, nil
}
