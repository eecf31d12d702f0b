package keyring

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/caddy-apikey/caddy-apikey/limit"
)

// script makes random records. Every key and every digest that was ever in use
// is remembered, so that what is gone can be asked for.
type script struct {
	rnd     *rand.Rand
	model   *model
	ids     []string
	digests [][32]byte
	origins []string
}

func newScript(seed uint64) *script {
	sc := &script{
		rnd:   rand.New(rand.NewPCG(seed, 1)),
		model: &model{map[string]*Key{}, map[string]*Org{}, map[string]bool{}},
	}
	for i := range 12 {
		sc.origins = append(sc.origins, fmt.Sprintf("https://app%d.example.com", i))
	}
	return sc
}

func (sc *script) batch(n int) []Record {
	var records []Record
	touched := map[string]bool{}
	for range n {
		r := sc.record()
		if r.Key != nil && touched[r.Key.ID] {
			continue // the next version must be made from the last one
		}
		if r.Key != nil {
			touched[r.Key.ID] = true
		}
		if r.Damaged != nil && touched[r.ID] {
			continue
		}
		touched[r.ID] = true
		records = append(records, r)
	}
	sc.model.apply(records)
	return records
}

func (sc *script) record() Record {
	switch p := sc.rnd.IntN(100); {
	case p < 8:
		return Record{Org: sc.org()}
	case p < 10 && len(sc.ids) > 0:
		return Record{Damaged: errors.New("checksum"), ID: sc.ids[sc.rnd.IntN(len(sc.ids))]}
	case p < 11:
		return Record{Damaged: errors.New("checksum"), ID: fmt.Sprintf("org%d", sc.rnd.IntN(6))}
	case p < 50 || len(sc.model.keys) == 0:
		return Record{Key: sc.newKey()}
	}
	id := sc.ids[sc.rnd.IntN(len(sc.ids))]
	old := sc.model.keys[id]
	if old == nil {
		return Record{Key: sc.newKey()}
	}
	return Record{Key: sc.change(old)}
}

func (sc *script) newKey() *Key {
	n := len(sc.ids)
	k := &Key{ID: testKeyID(uint64(n)), State: StateActive}
	if sc.rnd.IntN(10) == 0 {
		k.ID = fmt.Sprintf("legacy-%d", n)
	}
	sc.ids = append(sc.ids, k.ID)
	sc.attributes(k)
	for range 1 + sc.rnd.IntN(2) {
		k.Credentials = append(k.Credentials, sc.credential(k))
	}
	return k
}

func (sc *script) attributes(k *Key) {
	rnd := sc.rnd
	k.Name = fmt.Sprintf("name %d", rnd.IntN(1000))
	k.Owner = []string{"", "a@example.com", "b@example.com"}[rnd.IntN(3)]
	k.Org = []string{"", "org0", "org1", "org2", "org3", "org9"}[rnd.IntN(6)]
	k.Tier = []string{"", "gold"}[rnd.IntN(2)]
	k.Signing = []Signing{SigningOff, SigningOptional, SigningRequired}[rnd.IntN(3)]
	k.Scopes = [][]string{nil, {"contacts:read"}, {"contacts:*", "deals:read"}}[rnd.IntN(3)]
	k.Roles = [][]string{nil, {"reader"}}[rnd.IntN(2)]
	k.Tags = [][]string{nil, {"red"}, {"blue", "red"}}[rnd.IntN(3)]
	k.Metadata = []map[string]string{nil, {"a": "1"}, {"a": "2", "long": string(make([]byte, 300))}}[rnd.IntN(3)]
	k.Limits = [][]limit.Limit{nil, {{Amount: 5, Span: 1}, {Amount: 7, Span: limit.Day}}}[rnd.IntN(2)]
	k.Allow = [][]netip.Prefix{nil, {netip.MustParsePrefix("203.0.113.0/24")}}[rnd.IntN(2)]
	k.Origins = nil
	for range rnd.IntN(3) {
		k.Origins = append(k.Origins, sc.origins[rnd.IntN(len(sc.origins))])
	}
	k.ClientCerts = [][]Fingerprint{nil, {{1}}, {{1}, {2}}}[rnd.IntN(3)]
	k.NotBefore = sc.time()
	k.ExpiresAt = sc.time()
}

// time is the zero time as often as not.
func (sc *script) time() time.Time {
	if sc.rnd.IntN(2) == 0 {
		return time.Time{}
	}
	return time.UnixMilli(sc.rnd.Int64N(2_000_000)).UTC()
}

func (sc *script) credential(k *Key) Credential {
	c := Credential{N: 1, Kind: KindToken, ExpiresAt: sc.time()}
	for _, other := range k.Credentials {
		c.N = max(c.N, other.N+1)
	}
	if sc.rnd.IntN(8) == 0 {
		c.Kind = KindSharedSecret
		c.Sealed = make([]byte, 1+sc.rnd.IntN(200))
		c.Sealed[0] = byte(sc.rnd.Uint64())
		return c
	}
	for i := 0; i < 32; i += 8 {
		v := sc.rnd.Uint64()
		for j := range 8 {
			c.Digest[i+j] = byte(v >> (8 * j))
		}
	}
	sc.digests = append(sc.digests, c.Digest)
	return c
}

// change returns another version of a key.
func (sc *script) change(old *Key) *Key {
	k := old.clone()
	switch sc.rnd.IntN(9) {
	case 0, 1:
		sc.attributes(k)
	case 2:
		if len(k.Credentials) < 5 {
			k.Credentials = append(k.Credentials, sc.credential(k))
		}
	case 3:
		if n := len(k.Credentials); n > 0 {
			i := sc.rnd.IntN(n)
			k.Credentials = slices.Delete(k.Credentials, i, i+1)
		}
	case 4:
		for i := range k.Credentials {
			k.Credentials[i].EndedAt = time.UnixMilli(1)
		}
	case 5:
		k.State = StateSuspended
	case 6:
		k.State = StateActive
	case 7:
		k.State = StateRevoked
	case 8:
		k.State = StateDeleted
	}
	return k
}

func (sc *script) org() *Org {
	return &Org{
		Name:     fmt.Sprintf("org%d", sc.rnd.IntN(6)),
		State:    []State{StateActive, StateSuspended}[sc.rnd.IntN(2)],
		Tier:     []string{"", "silver"}[sc.rnd.IntN(2)],
		Deny:     [][]netip.Prefix{nil, {netip.MustParsePrefix("198.51.100.0/24")}}[sc.rnd.IntN(2)],
		Metadata: map[string]string{"plan": "x"},
	}
}
