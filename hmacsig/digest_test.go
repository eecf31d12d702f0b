package hmacsig

import (
	"errors"
	"strings"
	"testing"
)

const (
	textSHA256 = "sha-256=:mC2eviIhOrcA4DlmbQ7P7C6Xwx6yD7bIXpGcC3GGxwM=:"
	textMD5    = "md5=:HLKR9ypk4KOdZNDBcQlrRg==:"
)

func TestParseContentDigest(t *testing.T) {
	own, err := DigestContent(strings.NewReader("text"))
	if err != nil || own == textSHA256 {
		t.Fatal(own, err)
	}
	for _, c := range []struct {
		name string
		in   []string
		ok   bool
	}{
		{"one", []string{own}, true},
		{"beside an unknown one", []string{textMD5 + ", " + own, "x=:YQ==:"}, true},
		{"of another body", []string{textSHA256}, false},
		{"none", nil, false},
		{"empty", []string{""}, false},
		{"only an unknown one", []string{textMD5}, false},
		{"wrong among right", []string{own + ", sha-512=:" + strings.Repeat("A", 86) + "==:"}, false},
		{"twice", []string{own, own}, false},
		{"with a parameter", []string{own + ";x"}, false},
		{"no byte sequence", []string{own + ", x=1"}, false},
		{"a list", []string{own + ", x=(:YQ==:)"}, false},
		{"in a list", []string{strings.Replace(own, "=:", "=(:", 1) + ")"}, false},
		{"short", []string{"sha-256=:" + strings.Repeat("A", 42) + "==:"}, false},
		{"empty digest", []string{"sha-256=::"}, false},
		{"short beside right", []string{own + ", sha-512=:YQ==:"}, false},
		{"short of the first kind beside right", []string{"sha-256=:YQ==:, sha-512=:" + strings.Repeat("A", 86) + "==:"}, false},
		{"upper case", []string{strings.Replace(own, "sha", "SHA", 1)}, false},
		{"old form", []string{strings.NewReplacer(":", "", "sha-256", "SHA-256").Replace(own)}, false},
		{"too long", []string{own + "," + strings.Repeat(" ", sfMaxBytes)}, false},
	} {
		d, err := ParseContentDigest(c.in)
		if err == nil {
			v := d.Verifier()
			v.Write([]byte("te"))
			v.Write([]byte("xt"))
			err = v.Verify()
		}
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrDigest) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// What is refused must be refused before a body is read.
	for _, in := range []string{textMD5, "sha-256=:YQ==:", own + ", sha-512=:YQ==:", own + ";x"} {
		if _, err := ParseContentDigest([]string{in}); !errors.Is(err, ErrDigest) {
			t.Errorf("%s: %v", in, err)
		}
	}
}
