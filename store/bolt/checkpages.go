package bolt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"slices"
)

const (
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSize    = 64
	minPageSize = 1 << 10
	maxPageSize = 1 << 24
	noFreelist  = ^uint64(0)
)

// meta is what a meta page says.
type meta struct {
	pageSize uint32
	root     uint64
	freelist uint64
	pages    uint64 // the high-water mark: all pages in use are below
	txid     uint64
}

func (m *meta) size() int64 { return int64(m.pages) * int64(m.pageSize) }

// free returns how many pages the list of free pages has.
func (m *meta) free(f io.ReaderAt) (uint64, error) {
	var b [pageHeader + 8]byte
	if _, err := f.ReadAt(b[:], int64(m.freelist)*int64(m.pageSize)); err != nil {
		return 0, err
	}
	if n := binary.NativeEndian.Uint16(b[10:]); n < 0xFFFF {
		return uint64(n), nil
	}
	return binary.NativeEndian.Uint64(b[pageHeader:]), nil
}

var (
	errForeign  = errors.New("not a bbolt file")
	errMeta     = errors.New("meta page damaged")
	errBothMeta = errors.New("both meta pages damaged")
)

// parseMeta reads the meta page at the start of b. Its header is not looked
// at; bbolt does not use it either.
func parseMeta(b []byte) (m meta, err error) {
	if len(b) < pageHeader+metaSize {
		return m, errForeign
	}
	b = b[pageHeader : pageHeader+metaSize]
	if binary.NativeEndian.Uint32(b) != metaMagic {
		return m, errForeign
	}
	h := fnv.New64a()
	_, _ = h.Write(b[:metaSize-8])
	if h.Sum64() != binary.NativeEndian.Uint64(b[metaSize-8:]) {
		return m, errMeta
	}
	if v := binary.NativeEndian.Uint32(b[4:]); v != metaVersion {
		return m, fmt.Errorf("bbolt format %d instead of %d", v, metaVersion)
	}
	m = meta{
		pageSize: binary.NativeEndian.Uint32(b[8:]),
		root:     binary.NativeEndian.Uint64(b[16:]),
		freelist: binary.NativeEndian.Uint64(b[32:]),
		pages:    binary.NativeEndian.Uint64(b[40:]),
		txid:     binary.NativeEndian.Uint64(b[48:]),
	}
	if m.pageSize < minPageSize || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0 || m.pages >= 1<<62/uint64(m.pageSize) {
		return m, errMeta
	}
	return m, nil
}

// newestMeta returns the meta page of the last commit. It is an error where
// one of the two is damaged: bbolt would go on with the other one, which is
// the state before the last commit, and a key that was revoked last would be
// back without a word. A crash does not do this: the meta is 80 bytes at the
// start of a page, within the one sector that a disk writes whole or not at all.
func newestMeta(f io.ReaderAt) (meta, error) {
	var b [pageHeader + metaSize]byte
	read := func(off int64) (meta, error) {
		n, err := f.ReadAt(b[:], off)
		if err != nil && err != io.EOF {
			return meta{}, err
		}
		return parseMeta(b[:n])
	}
	m0, err0 := read(0)
	if isReadError(err0) {
		return meta{}, err0
	}
	if err0 == nil {
		m1, err1 := read(int64(m0.pageSize))
		if isReadError(err1) {
			return meta{}, err1
		}
		if err1 == nil && m1.pageSize != m0.pageSize {
			err1 = errMeta
		}
		if err1 != nil {
			return m0, &metaDamage{page: 1, err: err1}
		}
		if m1.txid > m0.txid {
			return m1, nil
		}
		return m0, nil
	}
	// The second one is somewhere, at a power of two.
	for size := int64(minPageSize); size <= maxPageSize; size *= 2 {
		m1, err := read(size)
		if isReadError(err) {
			return meta{}, err
		}
		if err == nil && int64(m1.pageSize) == size {
			return m1, &metaDamage{page: 0, err: err0}
		}
	}
	if errors.Is(err0, errMeta) {
		return meta{}, errBothMeta
	}
	return meta{}, err0
}

// isReadError tells a file that cannot be read from one that reads wrong: it may
// be whole, and must not be written over.
func isReadError(err error) bool {
	var op *fs.PathError
	return errors.As(err, &op)
}

func readError(path string, err error) error {
	return fmt.Errorf("store %s: cannot be read: %w. Check the disk and start Caddy again. If the disk is lost, restore a backup: "+
		"stop Caddy, then cp <backup> %s", path, err, quote(path))
}

// metaDamage says that one of the meta pages is damaged.
type metaDamage struct {
	page int64
	err  error
}

func (e *metaDamage) Error() string { return fmt.Sprintf("page %d damaged: %v", e.page, e.err) }

func metaError(path string, f *os.File, size int64, other meta, err error) error {
	var one *metaDamage
	switch {
	case errors.As(err, &one) && size < 2*int64(other.pageSize):
		return &damage{path: path, what: fmt.Sprintf("truncated: it has %d of %d bytes", size, other.size())}
	case errors.As(err, &one):
		return &damage{path: path, what: fmt.Sprintf("page %d damaged, so that the last change may be lost", one.page),
			also: fmt.Sprintf(". Or, to go on without the last change: dd if=%[1]s of=%[1]s bs=%[2]d count=1 skip=%[3]d seek=%[4]d conv=notrunc",
				quote(path), other.pageSize, 1-one.page, one.page)}
	case errors.Is(err, errBothMeta):
		return &damage{path: path, what: "pages 0 and 1 damaged"}
	case isReadError(err):
		return readError(path, err)
	case !errors.Is(err, errForeign):
		return fmt.Errorf("store %s: %w", path, err)
	}
	// A store's file that lost its start looks foreign; one look tells.
	head := make([]byte, 2*4096)
	n, _ := f.ReadAt(head, 0)
	if len(bytes.Trim(head[:n], "\x00")) == 0 {
		return &damage{path: path, what: "pages 0 and 1 damaged: they are all zeros"}
	}
	return fmt.Errorf("store %s: is not a store, nor any bbolt database. Choose another path for the store, or restore a backup: "+
		"stop Caddy, then cp <backup> %s", path, quote(path))
}

// freelist checks the list of free pages: bbolt would write over any page that
// is on it.
func (c *checker) freelist() error {
	if c.meta.freelist == noFreelist {
		return errors.New("it has no list of free pages; another program wrote it")
	}
	p, err := c.read(c.meta.freelist, 0)
	if err != nil {
		return err
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("page %d damaged: free list: %s", c.meta.freelist, fmt.Sprintf(format, args...))
	}
	if flags := binary.NativeEndian.Uint16(p[8:]); flags != freelistPage {
		return bad("unknown type %#x", flags)
	}
	count, ids := uint64(binary.NativeEndian.Uint16(p[10:])), p[pageHeader:]
	if count == 0xFFFF {
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return bad("%d entries are too many", count)
	}
	var last uint64
	for i := range count {
		id := binary.NativeEndian.Uint64(ids[8*i:])
		switch {
		case id < 2 || id >= c.meta.pages || id <= last:
			return bad("entry %d is out of order", i)
		case c.reached[id/64]&(1<<(id%64)) != 0:
			return bad("page %d is in use", id)
		}
		last = id
	}
	return nil
}

func sortVisits(level []visit) {
	slices.SortFunc(level, func(a, b visit) int { return cmp.Compare(a.page, b.page) })
}

// window reads pages in runs.
type window struct {
	f        io.ReaderAt
	pageSize int64
	most     int64 // bytes to read ahead
	buf      []byte
	start    int64 // offset of buf in the file
}

const (
	maxAhead = 1 << 20
	maxGap   = 16 // pages that are read in vain rather than with a call of their own
)

// ahead returns how many bytes are worth reading from the first of the sorted
// visits on. It is asked for only where the window has to move.
func (w *window) ahead(level []visit) int64 {
	first := int64(level[0].page) * w.pageSize
	if first >= w.start && first+w.pageSize <= w.start+int64(len(w.buf)) {
		return 0
	}
	n := 1
	for n < len(level) && level[n].page-level[n-1].page <= maxGap &&
		int64(level[n].page-level[0].page+1)*w.pageSize <= maxAhead {
		n++
	}
	return int64(level[n-1].page-level[0].page+1) * w.pageSize
}

// page returns count pages from id on, valid until the next call.
func (w *window) page(id uint64, count, ahead int64) ([]byte, error) {
	off, size := int64(id)*w.pageSize, count*w.pageSize
	if off < w.start || off+size > w.start+int64(len(w.buf)) {
		want := max(size, ahead)
		if int64(cap(w.buf)) < want {
			w.buf = make([]byte, max(want, w.most))
		}
		n, err := w.f.ReadAt(w.buf[:want], off)
		w.buf, w.start = w.buf[:n], off
		if int64(n) < size {
			return nil, fmt.Errorf("page %d cannot be read: %w", id, err)
		}
	}
	return w.buf[off-w.start:][:size], nil
}
