package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Example is a running example of the documentation.
type Example struct {
	*Rig
	Caddyfile string // as it was loaded
	rename    *strings.Replacer
	environ   []string // of the commands of its page
}

// NewExample runs the Caddyfile of an example as it is, but for its addresses:
// localhost:8080, where examples have their guarded site, localhost:2019, and
// localhost:9000, where they have a stand-in for the user's API. replace holds
// further pairs of old and new text, which go first; {$UPSTREAM} in a new text
// is the rig's recording upstream. The test's working directory becomes an empty
// one with a copy of the Caddyfile, as if the user had started the server there.
func NewExample(t testing.TB, caddyfile string, replace ...string) *Example {
	t.Helper()
	text := ReadFile(t, caddyfile)
	e := &Example{Rig: prepare(t), environ: os.Environ()}
	t.Chdir(e.Dir)
	for i := range replace {
		replace[i] = strings.ReplaceAll(replace[i], "{$UPSTREAM}", e.Upstream.Addr)
	}
	e.rename = strings.NewReplacer(append(replace,
		"localhost:8080", e.Site, "localhost:2019", e.Admin, "localhost:9000", FreeAddr(t))...)
	e.Reload(text)
	return e
}

// Reload loads the text of another Caddyfile in the same way.
func (e *Example) Reload(text string) {
	e.t.Helper()
	options := fmt.Sprintf("\tadmin %s\n\tpersist_config off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n\tskip_install_trust\n", e.Admin)
	output := fmt.Sprintf("\tlog {\n\t\toutput file %s\n\t\tlevel DEBUG\n", e.LogPath())
	switch {
	case strings.Contains(text, "output file caddy.log"):
	case defaultLog.MatchString(text):
		text = defaultLog.ReplaceAllLiteralString(text, output)
	default:
		options += output + "\t}\n"
	}
	if globalBlock.MatchString(text) {
		text = globalBlock.ReplaceAllLiteralString(text, "{\n"+options)
	} else {
		text = "{\n" + options + "}\n\n" + text
	}
	// Caddy took its working directory when the process started.
	e.Caddyfile = logFile.ReplaceAllString(e.rename.Replace(text), "output file "+e.Dir+"/$1")
	if err := os.WriteFile(filepath.Join(e.Dir, "Caddyfile"), []byte(e.Caddyfile), 0o600); err != nil {
		e.t.Fatal(err)
	}
	if err := e.LoadWhole(e.Caddyfile); err != nil {
		e.t.Fatalf("%v\n%s", err, e.Caddyfile)
	}
}

var (
	globalBlock = regexp.MustCompile(`(?m)^\{\n`)       // the line that opens the global options
	defaultLog  = regexp.MustCompile(`(?m)^\tlog \{\n`) // among the global options, which stand first
	logFile     = regexp.MustCompile(`output file (\w[^/\s]*)`)
)
