package denylist

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/gaissmai/bart"
	"github.com/go-json-experiment/json"

	"github.com/caddy-apikey/caddy-apikey/keyring"
)

// Bounds of a file.
const (
	MaxEntries  = 4_000_000
	MaxFileSize = 256 << 20 // bytes
	MaxLine     = 4096      // bytes, comment included
)

// ErrCutOff is a file that ends where it should not.
var ErrCutOff = errors.New("the file is cut off")

// Parse reads a list in any of the three forms, to its end. Its errors name the line, and repeat at most 64
// bytes of it. It reads no more than MaxFileSize.
func Parse(from io.Reader) (*Set, error) {
	p := parser{
		in:   bufio.NewReaderSize(&boundedReader{from, MaxFileSize}, MaxLine+1),
		trie: new(bart.Lite),
	}
	if err := p.parse(); err != nil {
		return nil, err
	}
	return &Set{p.trie, p.trie.Size()}, nil
}

// boundedReader fails where io.LimitReader would end.
type boundedReader struct {
	from io.Reader
	left int
}

func (r *boundedReader) Read(b []byte) (int, error) {
	n, err := r.from.Read(b[:min(len(b), r.left+1)])
	if r.left -= n; r.left < 0 {
		return 0, fmt.Errorf("the file is larger than %d bytes", MaxFileSize)
	}
	return n, err
}

type parser struct {
	in      *bufio.Reader
	trie    *bart.Lite
	entries int // repeated ones, too

	begun bool // a line was not blank
	json  bool
	ended bool // the metadata of JSON lines were there, which are the last line
}

func (p *parser) parse() error {
	for number := 1; ; number++ {
		line, err := p.in.ReadSlice('\n')
		last := errors.Is(err, io.EOF)
		line, ended := bytes.CutSuffix(line, []byte("\n"))
		switch {
		case errors.Is(err, bufio.ErrBufferFull) || len(line) > MaxLine:
			return fmt.Errorf("line %d: longer than %d bytes", number, MaxLine)
		case err != nil && !last:
			return err
		}
		if err := p.line(bytes.Trim(line, " \t\r"), ended); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if last {
			break
		}
	}
	if p.json && !p.ended {
		return fmt.Errorf("%w: the line with \"type\":\"metadata\" at its end is missing", ErrCutOff)
	}
	return nil
}

// line reads one line without the white space around it. ended says that a line feed was behind it.
func (p *parser) line(line []byte, ended bool) error {
	if !p.begun && len(line) > 0 {
		p.begun, p.json = true, line[0] == '{'
	}
	switch {
	case len(line) == 0:
		return nil
	case p.ended:
		return errors.New("more behind the line with \"type\":\"metadata\", which is the last")
	case p.json:
		return p.jsonLine(line)
	case !ended:
		return fmt.Errorf("%w: this line does not end; write a line feed behind it if it is complete", ErrCutOff)
	}
	entry := line
	if i := bytes.IndexAny(line, "#;"); i >= 0 {
		entry = bytes.TrimRight(line[:i], " \t")
	}
	if len(entry) == 0 {
		return nil
	}
	return p.add(string(entry))
}

// jsonLine reads a line such as {"cidr":"1.10.16.0/20","sblid":"SBL256894","rir":"apnic"}. Members that are
// not named here may be anything.
func (p *parser) jsonLine(line []byte) error {
	var record struct {
		CIDR    *string `json:"cidr"`
		Type    *string `json:"type"`
		Records *int    `json:"records"`
	}
	if err := json.Unmarshal(line, &record); err != nil {
		return fmt.Errorf("%.64q is no JSON object with \"cidr\", a text, or \"type\":\"metadata\" and \"records\", a number", line)
	}
	switch {
	case record.CIDR != nil && record.Type == nil:
		return p.add(*record.CIDR)
	case record.CIDR == nil && record.Type != nil && *record.Type == "metadata" && record.Records != nil:
		if *record.Records != p.entries {
			return fmt.Errorf("%w: it has %d entries, and says that it has %d", ErrCutOff, p.entries, *record.Records)
		}
		p.ended = true
		return nil
	}
	return fmt.Errorf("%.64q has neither \"cidr\" nor \"type\":\"metadata\" with \"records\"", line)
}

func (p *parser) add(entry string) error {
	prefix, err := ParseEntry(entry)
	if err != nil {
		return err
	}
	if p.entries++; p.entries > MaxEntries {
		return fmt.Errorf("more than %d entries", MaxEntries)
	}
	p.trie.Insert(prefix)
	return nil
}

// ParseEntry reads one address or prefix, as [keyring.ParseAddr] does. It refuses a prefix of length 0, which
// would deny everyone.
func ParseEntry(entry string) (netip.Prefix, error) {
	prefix, err := keyring.ParseAddr(entry)
	if err == nil && prefix.Bits() == 0 {
		err = fmt.Errorf("%s would deny everyone", prefix)
	}
	return prefix, err
}
