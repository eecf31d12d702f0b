// Package faults has no code, only tests: they break things around the real
// binary (the process, the disk, the file, the configuration, the clock, the
// clients) and check what callers, operators and the file see of it. They run
// on Linux.
//
// By default every test takes a small sample. With FAULTS=full in the
// environment it takes the numbers that docs/faults.md shows; `make faults`
// does so, prints the table of figures, and writes it into that page.
//
// A test that needs more than it has, such as the right to mount a file system
// or strace, skips and says what is missing.
package faults
