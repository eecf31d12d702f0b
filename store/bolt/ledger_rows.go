package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/milli"
	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/usage"
)

// The key of a counter in the bucket of its day: key id (zero for strangers),
// hour of the day, credential, route, reason, flags, place. Its value: requests,
// answers by class, bytes, first and last use in Unix milliseconds.

const (
	wholeDay     = 0xff // in place of the hour
	flagObserved = 1

	counterFixed   = usage.KeyLen + 1 + 4 + 4 + 2 + 1
	counterNumbers = usage.KeyLen + 1 + 4 // where those of route and reason are
	placeMost      = 1 + 8
	counterKeyMost = counterFixed + placeMost
	placeKeyMost   = usage.KeyLen + placeMost
	dayFormat      = "20060102"
)

// The kinds of a place.
const (
	placeUnknown byte = iota
	placeV4
	placeV6
	placeOther
)

func appendPlace(b []byte, p usage.Place) []byte {
	if p == usage.Other {
		return append(b, placeOther)
	}
	prefix, known := p.Prefix()
	if !known {
		return append(b, placeUnknown)
	}
	addr := prefix.Addr()
	if addr.Is4() {
		a := addr.As4()
		return append(append(b, placeV4), a[:]...)
	}
	a := addr.As16()
	return append(append(b, placeV6), a[:8]...)
}

var errPlace = errors.New("not a place")

func parsePlace(b []byte) (usage.Place, error) {
	if len(b) == 0 {
		return usage.Place{}, errPlace
	}
	switch kind, rest := b[0], b[1:]; {
	case kind == placeUnknown && len(rest) == 0:
		return usage.Place{}, nil
	case kind == placeOther && len(rest) == 0:
		return usage.Other, nil
	case kind == placeV4 && len(rest) == 4:
		return usage.PlaceOf(netip.AddrFrom4([4]byte(rest))), nil
	case kind == placeV6 && len(rest) == 8:
		var a [16]byte
		copy(a[:], rest)
		return usage.PlaceOf(netip.AddrFrom16(a)), nil
	}
	return usage.Place{}, errPlace
}

// appendKeyID appends a key's id in its fixed length, zeros for "".
func appendKeyID(b []byte, key string) ([]byte, error) {
	if err := checkKeyID(key); err != nil {
		return nil, err
	}
	if key == "" {
		return append(b, make([]byte, usage.KeyLen)...), nil
	}
	return append(b, key...), nil
}

func checkKeyID(key string) error {
	if key != "" && (len(key) != usage.KeyLen || key[0] == 0) {
		return &keyring.InvalidError{Field: "key", Reason: fmt.Sprintf("is %q, which is no id of a key", key)}
	}
	return nil
}

func parseKeyID(b []byte) string {
	if b[0] == 0 {
		return ""
	}
	return string(b[:usage.KeyLen])
}

func appendCounterKey(b []byte, c *usage.Counter, hour byte, route, reason uint32) ([]byte, error) {
	b, err := appendKeyID(b, c.Key)
	if err != nil {
		return nil, err
	}
	b = append(b, hour)
	b = binary.BigEndian.AppendUint32(b, c.Credential)
	b = binary.BigEndian.AppendUint32(b, route)
	b = binary.BigEndian.AppendUint16(b, uint16(reason))
	flags := byte(0)
	if c.Observed {
		flags = flagObserved
	}
	return appendPlace(append(b, flags), c.Place), nil
}

// setNumbers sets a counter's route and reason in its key.
func setNumbers(k []byte, route, reason uint32) {
	binary.BigEndian.PutUint32(k[counterNumbers:], route)
	binary.BigEndian.PutUint16(k[counterNumbers+4:], uint16(reason))
}

// parseCounterKey fills c with all but the hour's day, which the bucket tells.
func (n *namesIn) parseCounterKey(c *usage.Counter, k []byte) (hour byte, err error) {
	if len(k) <= counterFixed {
		return 0, errors.New("too short")
	}
	c.Key = parseKeyID(k)
	k = k[usage.KeyLen:]
	hour = k[0]
	c.Credential = binary.BigEndian.Uint32(k[1:])
	if c.Route, err = n.route(binary.BigEndian.Uint32(k[5:])); err != nil {
		return 0, err
	}
	if c.Reason, err = n.reason(uint32(binary.BigEndian.Uint16(k[9:]))); err != nil {
		return 0, err
	}
	c.Observed = k[11]&flagObserved != 0
	c.Place, err = parsePlace(k[12:])
	return hour, err
}

func appendCounter(b []byte, c *usage.Counter) []byte {
	b = binary.AppendUvarint(b, c.Requests)
	for _, n := range c.Statuses {
		b = binary.AppendUvarint(b, n)
	}
	b = binary.AppendUvarint(b, c.Bytes)
	b = binary.AppendUvarint(b, uint64(milli.Of(c.First)))
	return binary.AppendUvarint(b, uint64(milli.Of(c.Last)))
}

var errShort = errors.New("cut off")

// uvarints reads numbers, all of b.
func uvarints(b []byte, out ...*uint64) error {
	for _, p := range out {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return errShort
		}
		*p, b = v, b[n:]
	}
	if len(b) > 0 {
		return errors.New("has a tail")
	}
	return nil
}

func parseCounter(c *usage.Counter, b []byte) error {
	var first, last uint64
	s := &c.Statuses
	if err := uvarints(b, &c.Requests, &s[0], &s[1], &s[2], &s[3], &s[4], &s[5], &c.Bytes, &first, &last); err != nil {
		return err
	}
	c.First, c.Last = milli.Time(int64(first)), milli.Time(int64(last))
	return nil
}

// merge adds what another counter of the same combination has.
func merge(c *usage.Counter, other *usage.Counter) {
	c.Requests += other.Requests
	for i := range c.Statuses {
		c.Statuses[i] += other.Statuses[i]
	}
	c.Bytes += other.Bytes
	c.First = earliest(c.First, other.First)
	c.Last = latest(c.Last, other.Last)
}

// earliest returns the earlier time of those that are not zero.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// lastUse is the value of a credential in "last".
func appendLastUse(b []byte, u *usage.LastUse) []byte {
	b = binary.AppendUvarint(b, uint64(milli.Of(u.First)))
	b = binary.AppendUvarint(b, uint64(milli.Of(u.Last)))
	b = binary.AppendUvarint(b, u.Requests)
	b = binary.AppendUvarint(b, u.Refused)
	return appendPlace(b, u.Place)
}

func parseLastUse(u *usage.LastUse, b []byte) error {
	var first, last uint64
	for _, p := range []*uint64{&first, &last, &u.Requests, &u.Refused} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return errShort
		}
		*p, b = v, b[n:]
	}
	u.First, u.Last = milli.Time(int64(first)), milli.Time(int64(last))
	var err error
	u.Place, err = parsePlace(b)
	return err
}

// appendCall is the value of a call in "calls".
func appendCall(b []byte, c *usage.Call, route, reason uint32) []byte {
	b = binary.AppendUvarint(b, uint64(c.Credential))
	b = binary.AppendUvarint(b, uint64(route))
	b = binary.AppendUvarint(b, uint64(reason))
	flags := uint64(0)
	if c.Observed {
		flags = flagObserved
	}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendUvarint(b, uint64(max(c.Status, 0)))
	b = binary.AppendUvarint(b, c.Bytes)
	b = binary.AppendUvarint(b, uint64(max(c.Duration, 0)))
	addr, _ := c.Addr.MarshalBinary() // never fails
	for _, text := range []string{c.Method, c.Path, string(addr), c.UserAgent, c.RequestID} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return b
}

func (n *namesIn) parseCall(c *usage.Call, b []byte) (err error) {
	var credential, route, reason, flags, status, duration uint64
	for _, p := range []*uint64{&credential, &route, &reason, &flags, &status, &c.Bytes, &duration} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return errShort
		}
		*p, b = v, b[n:]
	}
	c.Credential, c.Status, c.Duration, c.Observed = uint32(credential), int(status), time.Duration(duration), flags&flagObserved != 0
	var addr string
	for _, p := range []*string{&c.Method, &c.Path, &addr, &c.UserAgent, &c.RequestID} {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return errShort
		}
		*p, b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	if len(b) > 0 {
		return errors.New("has a tail")
	}
	if err := c.Addr.UnmarshalBinary([]byte(addr)); err != nil {
		return err
	}
	if c.Route, err = n.route(uint32(route)); err != nil {
		return err
	}
	c.Reason, err = n.reason(uint32(reason))
	return err
}
