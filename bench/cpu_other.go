//go:build !unix

package main

import (
	"errors"
	"time"
)

// cpuTime fails: this system is not supported.
func cpuTime() (time.Duration, error) { return 0, errors.ErrUnsupported }
