//go:build linux

package faults

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"
)

// spoilt is an installation whose store is damaged over and over.
type spoilt struct {
	*server
	data   []byte   // the file as it was, up to the last page in use
	good   []string // tokens in force
	bad    []string // tokens of revoked keys
	values [][]byte // of the key records
	page   int
}

func newSpoilt(t *testing.T) *spoilt {
	t.Helper()
	s := &spoilt{server: newServer(t), page: os.Getpagesize()}
	s.start()
	var keys []string
	for i := range 300 {
		token := rand.Text() + rand.Text()
		s.good = append(s.good, token)
		keys = append(keys, fmt.Sprintf(`{"name":"key %d","purpose":%q,"scopes":["contacts:read"],"token":%q}`, i, bigText, token))
	}
	s.mustManage("POST", "/import", `{"keys":[`+strings.Join(keys, ",")+`]}`)
	for i := range 3 {
		s.bad = append(s.bad, s.revoked(fmt.Sprint("revoked ", i)))
	}
	s.kill()
	db, err := bbolt.Open(s.store, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	err = db.View(func(tx *bbolt.Tx) error {
		size = tx.Size() // up to the high-water mark
		return tx.Bucket([]byte("keys")).ForEach(func(_, v []byte) error {
			s.values = append(s.values, bytes.Clone(v))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if s.data, err = os.ReadFile(s.store); err != nil {
		t.Fatal(err)
	}
	s.data = s.data[:size]
	return s
}

// What became of a damaged file.
const (
	refusedStart = "refused at start"
	refusedKey   = "refused by record"
	harmless     = "harmless"
)

// judge starts the server on the given file. A wrong decision, a crash, or a
// refusal that does not say the way out is an error.
func (s *spoilt) judge(data []byte) (verdict string, err error) {
	s.t.Helper()
	if err := os.WriteFile(s.store, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	began := time.Now()
	s.begin()
	defer s.kill()
	if !s.ready() {
		return refusedStart, s.checkRefusal(time.Since(began))
	}
	denied := 0
	for _, token := range s.good {
		switch status, err := ask(context.Background(), s.client, "GET", "http://"+s.site+"/", token); {
		case err != nil:
			return "", err
		case status == http.StatusUnauthorized:
			denied++
		case status != http.StatusOK:
			return "", fmt.Errorf("a key is answered %d", status)
		}
	}
	for _, token := range append(s.bad, "ck_nobody") {
		if status, err := ask(context.Background(), s.client, "GET", "http://"+s.site+"/", token); err != nil || status != http.StatusUnauthorized {
			return "", fmt.Errorf("a revoked key or none is answered %d, %v", status, err)
		}
	}
	reported := strings.Contains(s.logs(), "some keys are refused because their records are damaged; restore a backup")
	switch {
	case s.crashed() != "":
		return "", fmt.Errorf("crashed: %s", s.crashed())
	case denied > 0 && !reported:
		return "", fmt.Errorf("%d keys are refused without a word in the log", denied)
	case reported:
		return refusedKey, nil
	}
	return harmless, nil
}

// checkRefusal checks what a refused start says.
func (s *spoilt) checkRefusal(took time.Duration) error {
	message := s.lastError()
	if log := s.crashed(); log != "" || message == "" {
		return fmt.Errorf("crashed: %s", tail(s.logs()))
	}
	if s.cmd.ProcessState.ExitCode() != 1 {
		return fmt.Errorf("exit code %d: %s", s.cmd.ProcessState.ExitCode(), message)
	}
	kind := false
	for _, word := range []string{"damaged", "truncated", "is empty"} {
		kind = kind || strings.Contains(message, word)
	}
	for what, says := range map[string]bool{
		"the file":          strings.Contains(message, "store "+s.store),
		"the kind of fault": kind,
		"the way back":      strings.Contains(message, "cp <backup> "+s.store),
	} {
		if !says {
			return fmt.Errorf("the refusal does not say %s: %s", what, message)
		}
	}
	if took > atMost(5*time.Second) {
		return fmt.Errorf("the refusal took %v", took)
	}
	return nil
}

// judgeAll judges many files and records how they fared.
func (s *spoilt) judgeAll(what, goal string, cases []func(data []byte) []byte, allowed ...string) {
	s.t.Helper()
	tally := make(map[string]int)
	for i, spoil := range cases {
		verdict, err := s.judge(spoil(bytes.Clone(s.data)))
		if err == nil && !strings.Contains(strings.Join(allowed, ","), verdict) {
			err = fmt.Errorf("%s, want %s", verdict, strings.Join(allowed, " or "))
		}
		if err != nil {
			s.t.Errorf("%s, case %d: %v", what, i, err)
			verdict = "WRONG"
		}
		tally[verdict]++
	}
	note(s.t, "R10", what, goal, tally["WRONG"] == 0 && len(cases) > 0, "%d files: %s", len(cases), counted(tally))
}

// TestDamagedFile starts the server on files that are not what was written.
func TestDamagedFile(t *testing.T) {
	s := newSpoilt(t)
	type spoil = func([]byte) []byte

	pages := mathrand.Perm(len(s.data) / s.page)
	var zeroed, flips, recordFlips, cuts []spoil
	for _, page := range pages[:min(len(pages), amount(10, 1000))] {
		zeroed = append(zeroed, func(data []byte) []byte {
			clear(data[page*s.page:][:s.page])
			return data
		})
	}
	s.judgeAll("a page zeroed", "refused, or not in use; no crash", zeroed, refusedStart, refusedKey, harmless)

	for range amount(10, 200) {
		bit := mathrand.IntN(len(s.data) * 8)
		flips = append(flips, func(data []byte) []byte {
			data[bit/8] ^= 1 << (bit % 8)
			return data
		})
		value := s.values[mathrand.IntN(len(s.values))]
		bit = mathrand.IntN(len(value) * 8)
		recordFlips = append(recordFlips, func(data []byte) []byte {
			// In every copy of the record: the one in use and those in free pages.
			spoilt := bytes.Clone(value)
			spoilt[bit/8] ^= 1 << (bit % 8)
			return bytes.ReplaceAll(data, value, spoilt)
		})
	}
	s.judgeAll("one bit flipped, anywhere", "refused, or not in use; no crash", flips, refusedStart, refusedKey, harmless)
	s.judgeAll("one bit flipped in a key record", "every one is noticed", recordFlips, refusedStart, refusedKey)

	for _, size := range []int{0, 100, s.page, 2 * s.page, len(s.data) / 100, len(s.data) / 2, len(s.data) * 99 / 100} {
		cuts = append(cuts, func(data []byte) []byte { return data[:size] })
	}
	s.judgeAll("truncated to 0, 100 bytes, one page, the header, 1 %, 50 %, 99 %", "refused with file, kind and command", cuts, refusedStart)
	cuts = nil
	for range 2 {
		cuts = append(cuts, func(data []byte) []byte { return data })
	}
	s.judgeAll("the file as it was written", "no complaint", cuts, harmless)
}

// TestRecovery does what the refusal says.
func TestRecovery(t *testing.T) {
	s := newServer(t)
	s.start()
	all := s.expectations()
	backup := s.mustManage("GET", "/backup", "")
	copied := filepath.Join(s.dir, "backup.db")
	if err := os.WriteFile(copied, backup.body, 0o644); err != nil {
		t.Fatal(err)
	}
	s.kill()
	if err := os.Truncate(s.store, int64(os.Getpagesize())*3); err != nil {
		t.Fatal(err)
	}
	s.begin()
	if s.ready() {
		t.Fatal("started on a truncated file")
	}
	_, command, _ := strings.Cut(s.lastError(), "stop Caddy, then ")
	command = strings.ReplaceAll(command, "<backup>", copied)
	if out, err := s.command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", command, err, out)
	}
	s.start()
	right := 0
	for _, e := range all {
		if got, err := s.status(t.Context(), "GET", e.token); err == nil && got == e.want {
			right++
		}
	}
	must(t, "R10", "the command that the refusal gives, with a backup", "all keys back", right == len(all), "%d of %d decisions right", right, len(all))
}
