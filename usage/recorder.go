package usage

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/milli"
)

// FlushInterval is how long a count is in memory only, and so how much is lost
// at most when the process is killed.
const FlushInterval = time.Second

// DefaultLastCalls is how many calls of each key are kept unless said otherwise.
const DefaultLastCalls = 200

// addTimeout bounds one attempt to write.
const addTimeout = 10 * time.Second

// Options are the settings of a Recorder; the zero value is good.
type Options struct {
	// LastCalls is how many calls of each key are kept. 0 is DefaultLastCalls.
	LastCalls int

	// Scrub removes secrets from a text before it is kept. nil: nothing.
	Scrub func(string) string

	// Added is told, in the recorder's goroutine, what each batch brought.
	Added func(Added)

	// Written is told of each batch that was written, in the same way. It must not
	// keep it, and be quick.
	Written func(*Batch)
}

// Recorder counts requests in memory and writes what it counted to a store.
// All methods are safe for concurrent use; those of the request path neither
// wait for the store nor allocate.
type Recorder struct {
	store Store
	opts  Options

	routes *routes
	cells  *cells
	rings  rings
	ids    atomic.Uint64 // of requests
	idKey  uint64

	mu        sync.Mutex // held while a batch is made and written
	pending   *Batch     // made, but not known to be written
	hour      int64      // of the last batch
	scopes    scopeSet
	followers followers

	err       atomic.Pointer[error] // of the last attempt
	lastCalls atomic.Int64          // how many are kept of each key
	written   atomic.Int64          // when the last batch was written, Unix milliseconds
	lost      atomic.Uint64         // calls

	wake   chan struct{}
	stop   chan struct{}
	ended  chan struct{}
	closed sync.Once
}

// NewRecorder returns a recorder that writes to store until it is closed.
func NewRecorder(store Store, opts Options) *Recorder {
	r := &Recorder{
		store:  store,
		opts:   opts,
		routes: newRoutes(),
		cells:  newCells(),
		wake:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		ended:  make(chan struct{}),
	}
	r.SetLastCalls(opts.LastCalls)
	r.idKey = randomUint64()
	r.hour = hourOf(time.Now())
	r.written.Store(time.Now().UnixMilli())
	go r.run()
	return r
}

// SetLastCalls sets how many calls of each key are kept from now on; 0 is
// DefaultLastCalls.
func (r *Recorder) SetLastCalls(n int) {
	if n <= 0 {
		n = DefaultLastCalls
	}
	r.lastCalls.Store(int64(n))
}

// Route returns the number of a route, for Use. It keeps r.
func (r *Recorder) Route(route Route) RouteNo { return r.routes.number(route) }

// Use is how one request used a key, or failed to.
type Use struct {
	Key        [KeyLen]byte // zero: no key was proven
	Credential uint32
	Route      RouteNo
	Reason     ReasonNo
	Observed   bool
	Place      Place
}

// Counted is a request that began; its End is to be called once.
type Counted struct {
	r *Recorder
	c *cell
}

// Begin counts a request.
func (r *Recorder) Begin(u *Use, now time.Time) Counted {
	id := cellID{key: u.Key, credential: u.Credential, route: uint32(u.Route), reason: uint16(u.Reason), observed: u.Observed}
	id.setPlace(u.Place)
	c := r.cells.find(&id)
	c.begin(now.UnixMilli())
	return Counted{r, c}
}

// End counts the answer: its status, 0 if there was none, and the bytes of its
// body.
func (c Counted) End(status int, bytes uint64) {
	if c.c.gone.Load() { // a long request
		c.c = c.r.cells.find(&c.c.id)
	}
	c.c.end(status, bytes)
}

// Call keeps one call.
func (r *Recorder) Call(c *CallSeen) {
	if r.rings.add(c) {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// Scope keeps that a key needed a scope that a placeholder had filled in.
func (r *Recorder) Scope(key [KeyLen]byte, scope string, now time.Time) {
	r.scopes.add(key, scope, now)
}

// NextRequestID returns a number that no other request of this process has, and
// that tells nothing about how many there are.
func (r *Recorder) NextRequestID() uint64 {
	// A permutation of the numbers: an odd factor, and a key.
	return (r.ids.Add(1) ^ r.idKey) * 0x9e3779b97f4a7c15
}

// run writes every FlushInterval, at the end of each hour, and when calls are
// waiting in numbers.
func (r *Recorder) run() {
	defer close(r.ended)
	for {
		now := time.Now()
		wait := min(FlushInterval, now.Truncate(time.Hour).Add(time.Hour).Sub(now))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.wake:
		case <-r.stop:
			timer.Stop()
			return
		}
		timer.Stop()
		_ = r.Flush(context.Background())
	}
}

// Flush writes everything that was counted before it was called. Whoever reads
// the store afterwards sees it. What could not be written is kept, and tried
// again with the next one.
func (r *Recorder) Flush(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A batch that could not be written before goes first.
	for range 2 {
		fresh := r.pending == nil
		if fresh {
			r.pending = r.batch()
		}
		if r.pending == nil {
			r.note(nil)
			return nil
		}
		if err := r.write(ctx); err != nil {
			return err
		}
		if fresh {
			return nil
		}
	}
	return nil
}

// write is called with mu held.
func (r *Recorder) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, addTimeout)
	defer cancel()
	added, err := r.store.Add(ctx, *r.pending)
	r.note(err)
	if err != nil {
		return err
	}
	if r.opts.Written != nil {
		r.opts.Written(r.pending)
	}
	r.pending = nil
	if r.opts.Added != nil {
		r.opts.Added(added)
	}
	return nil
}

func (r *Recorder) note(err error) {
	if err != nil {
		r.err.Store(&err)
		return
	}
	r.err.Store(nil)
	r.written.Store(time.Now().UnixMilli())
}

// Health returns why counts could not be written lately, nil if they were, and
// since when they wait.
func (r *Recorder) Health() (since time.Time, err error) {
	if p := r.err.Load(); p != nil {
		err = *p
	}
	return milli.Time(r.written.Load()), err
}

// Lost returns how many calls were never written because too many came at once.
func (r *Recorder) Lost() uint64 { return r.lost.Load() }

// Close writes what is left, as long as ctx allows, and ends.
func (r *Recorder) Close(ctx context.Context) error {
	r.closed.Do(func() { close(r.stop) })
	<-r.ended
	r.followers.close()
	return r.Flush(ctx)
}

// batch takes everything that was counted, nil for nothing.
func (r *Recorder) batch() *Batch {
	b := new(Batch)
	now := time.Now()
	hour := hourOf(now)
	r.cells.take(hour != r.hour, func(id *cellID, c *Counter) {
		c.Event = Event{
			Key:        keyText(id.key),
			Credential: id.credential,
			Route:      r.routes.at(RouteNo(id.route)),
			Place:      id.place(),
			Reason:     ReasonNo(id.reason).text(),
			Observed:   id.observed,
		}
		c.Hour = time.Unix(r.hour*3600, 0).UTC()
		if !c.First.IsZero() {
			c.Hour = c.First.Truncate(time.Hour)
		}
		b.Counters = append(b.Counters, *c)
	})
	r.hour = hour
	b.Scopes = r.scopes.take()
	b.Calls = r.takeCalls(b, now)
	if len(b.Counters) == 0 && len(b.Scopes) == 0 && len(b.Calls) == 0 && len(b.Gaps) == 0 {
		return nil
	}
	_, _ = rand.Read(b.ID[:])
	return b
}

func keyText(key [KeyLen]byte) string {
	if key == [KeyLen]byte{} {
		return ""
	}
	return string(key[:])
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }
