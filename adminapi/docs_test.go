package adminapi

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func docs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/admin-api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The table of errors has every kind of problem with its status.
func TestDocsHaveEveryProblem(t *testing.T) {
	var documented, real []string
	for _, m := range regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `([a-z-]+)` \\|").FindAllStringSubmatch(docs(t), -1) {
		documented = append(documented, m[1]+" "+m[2])
	}
	file, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	statuses := make(map[string]int)
	for _, k := range []kind{invalidBody, invalidField, invalidQuery, invalidHeader, invalidPrecondition, unsafeListener, notFound, notConfigured, methodNotAllowed, slowBody, conflict,
		alreadyExists, wrongState, preconditionFailed, tooLarge, notJSON, internalError, outcomeUnknown, masterKey, storeUnavailable, notRunning, recentlyUsed, useUnavailable, busy, cancelled, storeFull, noLockout, lockoutsFull} {
		statuses[k.slug] = k.status
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, ok := n.(*ast.CompositeLit); ok {
			if name, ok := literal.Type.(*ast.Ident); ok && name.Name == "kind" {
				slug, _ := strconv.Unquote(literal.Elts[1].(*ast.BasicLit).Value)
				real = append(real, strconv.Itoa(statuses[slug])+" "+slug)
			}
		}
		return true
	})
	slices.Sort(documented)
	slices.Sort(real)
	if len(real) == 0 || !slices.Equal(documented, real) {
		t.Errorf("documented %v\nreal       %v", documented, real)
	}
}

// The table of fields has every field of a key.
func TestDocsHaveEveryField(t *testing.T) {
	s := newServer(t)
	id, _ := s.create("")
	for field := range s.do("GET", "keys/"+id, "").tree() {
		if !regexp.MustCompile("(?m)^\\| [^|]*`" + field + "`").MatchString(docs(t)) {
			t.Errorf("%s is not in the table of fields", field)
		}
	}
}

// The examples run in the order in which they stand there.
func TestDocsExamples(t *testing.T) {
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s", program)
		}
	}
	s := newServer(t)
	id, secret := s.create("")
	dir := t.TempDir()
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(docs(t), -1)
	if len(blocks) < 10 {
		t.Fatalf("%d examples", len(blocks))
	}
	for _, block := range blocks {
		script := "set -e\ncurl() { command curl -sS --noproxy '*' --fail-with-body \"$@\"; }\n" + strings.ReplaceAll(block[1], "localhost:2019", s.addr)
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "ID="+id, "TOKEN="+secret)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\n%s", err, block[1], out)
		}
	}
}
