//go:build linux

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	_ "github.com/caddy-apikey/caddy-apikey" // so that a cached result is of the same server
)

// full says that the whole numbers are wanted.
var full = os.Getenv("FAULTS") == "full"

// amount is how often something is done: few times, unless all is wanted.
func amount(few, all int) int {
	if full {
		return all
	}
	return few
}

// binary is the server under test, as a user builds it.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "caddy-apikey")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "../xcaddy")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the server:", err)
		return 1
	}
	code := m.Run()
	if err := figures.report(os.Getenv("FAULTS_PAGE")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
