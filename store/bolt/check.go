package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
)

// found is what the check of a file learned.
type found struct {
	head head
	size int64 // bytes that the file must have
}

// checkFile checks the file f before it is mapped: bbolt trusts what it reads,
// and a damaged page makes it panic, run past a mapping, or miss records
// without a word. Only read(2) is used here, which reports errors where a
// mapped page would kill the process. Every page that can be reached is read
// once, mostly in the order of the file.
func checkFile(path string, f *os.File) (*found, error) {
	bad := func(format string, args ...any) error {
		return &damage{path: path, what: fmt.Sprintf(format, args...)}
	}
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	m, err := newestMeta(f)
	if err != nil {
		return nil, metaError(path, f, st.Size(), m, err)
	}
	if st.Size() < m.size() {
		return nil, bad("truncated: it has %d of %d bytes", st.Size(), m.size())
	}
	c := newChecker(f, m)
	if err := c.run(); isReadError(err) {
		return nil, readError(path, err)
	} else if err != nil {
		return nil, bad("%v", err)
	}
	var s schema
	var h head
	if c.buckets[string(bucketMeta)] == nil || c.schema == nil {
		return nil, fmt.Errorf("store %s: is a database of another program. Choose another path for the store", path)
	}
	if err := s.decode(c.schema); err != nil {
		return nil, bad("schema record damaged: %v", err)
	}
	if s.version > schemaVersion {
		return nil, fmt.Errorf("store %s: was written by a newer version (schema %d, this one knows %d). Run that version, or restore a "+
			"backup from before the upgrade: stop Caddy, then cp <backup> %s", path, s.version, schemaVersion, quote(path))
	}
	if s.version < schemaVersion {
		return nil, fmt.Errorf("store %s: was written by a version from before the first release (schema %d, this one knows %d). Begin a new one: "+
			"mv %s %s, then restart Caddy", path, s.version, schemaVersion, quote(path), quote(path+".old"))
	}
	if err := h.decode(c.state); err != nil {
		return nil, bad("state record damaged: %v", err)
	}
	for _, b := range []struct {
		name []byte
		want uint64
	}{{bucketKeys, h.keys}, {bucketOrgs, h.orgs}, {bucketDigests, h.digests}, {bucketTrail, h.trail.Len()}} {
		got := c.buckets[string(b.name)]
		if got == nil {
			return nil, bad("bucket %s is missing", b.name)
		}
		if got.records != b.want {
			return nil, bad("bucket %s has %d of %d records", b.name, got.records, b.want)
		}
	}
	return &found{head: h, size: m.size()}, nil
}

const (
	pageHeader  = 16
	elementSize = 16 // of a leaf or branch page
	bucketSize  = 16 // before an inline page, or all of a bucket's value

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	bucketFlag = 0x01
)

// tree is one bucket, the root of all buckets included.
type tree struct {
	name    string // "" for the root
	records uint64
}

// visit is a page to be read, with the bounds that its parent sets for its
// keys: low ≤ key < high; nil is none.
type visit struct {
	page      uint64
	tree      *tree
	low, high []byte
}

type checker struct {
	f       *os.File
	meta    meta
	nested  []byte   // the bucket that has buckets, if any
	only    []byte   // the one bucket that is looked into, if set
	reached []uint64 // a bit for each page
	buckets map[string]*tree
	next    []visit
	window  window

	schema, state []byte
}

func newChecker(f *os.File, m meta) *checker {
	return &checker{f: f, meta: m, reached: make([]uint64, m.pages/64+1)}
}

// run walks all trees level by level, and looks at the list of free pages.
// Within a level pages are read in the order of the file.
func (c *checker) run() error {
	c.buckets = make(map[string]*tree)
	c.window = window{f: c.f, pageSize: int64(c.meta.pageSize), most: min(maxAhead, c.meta.size())}
	c.next = []visit{{page: c.meta.root, tree: new(tree)}}
	for len(c.next) > 0 {
		level := c.next
		c.next = nil
		sortVisits(level)
		for i := range level {
			v := &level[i]
			page, err := c.read(v.page, c.window.ahead(level[i:]))
			if err != nil {
				return err
			}
			if err := c.node(page, v); err != nil {
				return fmt.Errorf("page %d damaged: %w", v.page, err)
			}
		}
	}
	if c.only != nil {
		return nil
	}
	return c.freelist()
}

// read returns page id with all that overflows it, and marks it as reached.
func (c *checker) read(id uint64, ahead int64) ([]byte, error) {
	if id < 2 || id >= c.meta.pages {
		return nil, fmt.Errorf("page %d is out of range: the file has %d", id, c.meta.pages)
	}
	p, err := c.window.page(id, 1, ahead)
	if err != nil {
		return nil, err
	}
	if got := binary.NativeEndian.Uint64(p); got != id {
		return nil, fmt.Errorf("page %d damaged: it says to be page %d", id, got)
	}
	pages := uint64(binary.NativeEndian.Uint32(p[12:])) + 1
	if pages > c.meta.pages-id {
		return nil, fmt.Errorf("page %d damaged: it is longer than the file", id)
	}
	for i := id; i < id+pages; i++ {
		if c.reached[i/64]&(1<<(i%64)) != 0 {
			return nil, fmt.Errorf("page %d damaged: two others refer to it", i)
		}
		c.reached[i/64] |= 1 << (i % 64)
	}
	if pages > 1 {
		return c.window.page(id, int64(pages), ahead)
	}
	return p, nil
}

// node checks a branch or leaf page. bbolt lays the elements of a page out
// without a gap: any wrong offset, length or count shows.
func (c *checker) node(p []byte, v *visit) error {
	flags, count := binary.NativeEndian.Uint16(p[8:]), int(binary.NativeEndian.Uint16(p[10:]))
	if flags != branchPage && flags != leafPage {
		return fmt.Errorf("unknown type %#x", flags)
	}
	if count == 0 && flags == branchPage {
		return fmt.Errorf("a branch without children")
	}
	expect := pageHeader + count*elementSize
	if expect > len(p) {
		return fmt.Errorf("%d elements are too many", count)
	}
	var last []byte
	for i := range count {
		at := pageHeader + i*elementSize
		e := p[at : at+elementSize]
		var pos, keySize, valueSize uint32
		if flags == branchPage {
			pos, keySize = binary.NativeEndian.Uint32(e), binary.NativeEndian.Uint32(e[4:])
		} else {
			pos, keySize, valueSize = binary.NativeEndian.Uint32(e[4:]), binary.NativeEndian.Uint32(e[8:]), binary.NativeEndian.Uint32(e[12:])
		}
		end := int64(expect) + int64(keySize) + int64(valueSize)
		if int64(at)+int64(pos) != int64(expect) || end > int64(len(p)) || keySize == 0 {
			return fmt.Errorf("element %d is out of place", i)
		}
		key, value := p[expect:expect+int(keySize)], p[expect+int(keySize):end]
		expect = int(end)
		if i > 0 && bytes.Compare(last, key) >= 0 ||
			i == 0 && v.low != nil && bytes.Compare(key, v.low) < 0 ||
			v.high != nil && bytes.Compare(key, v.high) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		last = key
		if flags == branchPage {
			c.child(binary.NativeEndian.Uint64(e[8:]), key, i == 0, v)
			continue
		}
		if err := c.element(v.tree, binary.NativeEndian.Uint32(e), key, value); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	if flags == branchPage {
		c.next[len(c.next)-1].high = v.high
	}
	return nil
}

// child notes a page that a branch refers to; its keys end where those of the
// next child begin.
func (c *checker) child(page uint64, key []byte, first bool, parent *visit) {
	low := bytes.Clone(key)
	if !first {
		c.next[len(c.next)-1].high = low
	}
	c.next = append(c.next, visit{page: page, tree: parent.tree, low: low})
}

// element checks one element of a leaf.
func (c *checker) element(t *tree, flags uint32, key, value []byte) error {
	if t.name == "" || c.nested != nil && t.name == string(c.nested) {
		return c.bucket(flags, key, value)
	}
	t.records++
	switch t.name {
	default:
		if c.nested == nil {
			return nil // another program's; told as such later
		}
	case string(bucketKeys), string(bucketOrgs):
	case string(bucketDigests):
		if _, err := unseal(bucketDigests, key, value); err != nil {
			return fmt.Errorf("credential index: %w", err)
		}
	case string(bucketMeta):
		switch {
		case bytes.Equal(key, metaSchema):
			c.schema = bytes.Clone(value)
		case bytes.Equal(key, metaState):
			c.state = bytes.Clone(value)
		}
	}
	if flags != 0 {
		return fmt.Errorf("unknown flags %#x", flags)
	}
	return nil
}

// bucket checks an element of the root: a small bucket's only page stands in
// its value, a larger one's value has the number of its root page.
func (c *checker) bucket(flags uint32, key, value []byte) error {
	if flags != bucketFlag {
		return fmt.Errorf("not a bucket (flags %#x)", flags)
	}
	if len(value) < bucketSize {
		return fmt.Errorf("bucket header too short")
	}
	t := &tree{name: string(key)}
	c.buckets[t.name] = t
	if c.only != nil && t.name != string(c.only) {
		return nil
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		if len(value) != bucketSize {
			return fmt.Errorf("bucket header too long")
		}
		c.next = append(c.next, visit{page: root, tree: t})
		return nil
	}
	inline := value[bucketSize:]
	if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[8:]) != leafPage {
		return fmt.Errorf("inline bucket without a leaf page")
	}
	return c.node(inline, &visit{tree: t})
}
