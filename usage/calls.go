package usage

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// takeCalls returns the newest calls of each key among those that wait, in order
// of time, and hands them to those who follow.
func (r *Recorder) takeCalls(b *Batch, now time.Time) []Call {
	filled, lost := r.rings.take()
	if lost > 0 {
		r.lost.Add(lost)
		b.Gaps = append(b.Gaps, Gap{now.Add(-FlushInterval).UTC(), now.UTC(), GapOverflow})
	}
	var slots []*slot
	for _, part := range filled {
		for i := range part {
			slots = append(slots, &part[i])
		}
	}
	slices.SortFunc(slots, func(a, b *slot) int {
		return cmp.Or(bytes.Compare(a.seen.Key[:], b.seen.Key[:]), a.seen.Began.Compare(b.seen.Began))
	})
	lastCalls := int(r.lastCalls.Load())
	var calls []Call
	for i, s := range slots {
		// Older ones of a busy key would be dropped by the store anyway.
		if newer := i + lastCalls; newer < len(slots) && slots[newer].seen.Key == s.seen.Key {
			continue
		}
		calls = append(calls, r.call(s))
	}
	r.followers.tell(calls)
	return calls
}

func (r *Recorder) call(s *slot) Call {
	return Call{
		Key:        keyText(s.seen.Key),
		Credential: s.seen.Credential,
		Time:       s.seen.Began.UTC(),
		Method:     r.text(s.method[:s.methodLen], false),
		Path:       r.text(s.path[:s.pathLen], s.pathCut),
		Route:      r.routes.at(s.seen.Route),
		Status:     s.seen.Status,
		Reason:     s.seen.Reason.text(),
		Observed:   s.seen.Observed,
		Addr:       s.seen.Addr,
		UserAgent:  r.text(s.userAgent[:s.userAgentLen], s.userAgentCut),
		Bytes:      s.seen.Bytes,
		Duration:   s.seen.Duration,
		RequestID:  FormatRequestID(s.seen.RequestID),
	}
}

// text makes what a client sent fit to be shown: without secrets, without what
// a terminal would act on, within the bounds of a Call, and marked if cut.
func (r *Recorder) text(raw []byte, cut bool) string {
	text := string(raw)
	if r.opts.Scrub != nil {
		text = r.opts.Scrub(text)
	}
	if text = escape(text); cut {
		text += "…"
	}
	return text
}

// PathText returns the path of a request target as a Call has it.
func (r *Recorder) PathText(target string) string { return r.clip(pathOf(target), MaxPath) }

// UserAgentText returns a user agent as a Call has it.
func (r *Recorder) UserAgentText(userAgent string) string { return r.clip(userAgent, MaxUserAgent) }

func (r *Recorder) clip(text string, most int) string {
	return r.text([]byte(text[:min(len(text), most)]), len(text) > most)
}

// escape writes what is not printable as Go does in strings.
func escape(text string) string {
	plain := func(c rune) bool { return c != utf8.RuneError && c != '\\' && unicode.IsPrint(c) }
	if strings.IndexFunc(text, func(c rune) bool { return !plain(c) }) < 0 {
		return text
	}
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// FormatRequestID writes a request's number as it is shown everywhere.
func FormatRequestID(id uint64) string {
	text := strconv.FormatUint(id, 36)
	return strings.Repeat("0", 13-len(text)) + text
}

// NewRequestID is a number for something that is no call, as FormatRequestID
// writes it.
func NewRequestID() string { return FormatRequestID(randomUint64()) }

func randomUint64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// maxFollowers bounds who watches at a time; followerRoom is how many calls wait
// for one that is slow before it misses some.
const (
	maxFollowers = 64
	followerRoom = 1024
)

// followers are those who want to see new calls of a key.
type followers struct {
	mu     sync.Mutex
	closed bool
	all    map[*Follower]bool
}

// Follower gets the calls of one key as they are written.
type Follower struct {
	key   string
	f     *followers
	calls chan Call
}

// Follow returns a follower of a key, nil if there are too many. It is to be
// stopped.
func (r *Recorder) Follow(key string) *Follower {
	f := &r.followers
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.all) >= maxFollowers {
		return nil
	}
	if f.all == nil {
		f.all = make(map[*Follower]bool)
	}
	one := &Follower{key: key, f: f, calls: make(chan Call, followerRoom)}
	f.all[one] = true
	return one
}

// Calls is closed when the recorder is, or when the reader was too slow.
func (f *Follower) Calls() <-chan Call { return f.calls }

// Stop ends it.
func (f *Follower) Stop() {
	f.f.mu.Lock()
	defer f.f.mu.Unlock()
	f.f.remove(f)
}

// remove is called with mu held.
func (f *followers) remove(one *Follower) {
	if f.all[one] {
		delete(f.all, one)
		close(one.calls)
	}
}

func (f *followers) tell(calls []Call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for one := range f.all {
		first, _ := slices.BinarySearchFunc(calls, one.key, func(c Call, key string) int { return cmp.Compare(c.Key, key) })
		for _, c := range calls[first:] {
			if c.Key != one.key {
				break
			}
			select {
			case one.calls <- c:
				continue
			default:
			}
			f.remove(one)
			break
		}
	}
}

func (f *followers) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for one := range f.all {
		f.remove(one)
	}
}
