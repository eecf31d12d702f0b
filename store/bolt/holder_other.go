//go:build !linux

package bolt

import "os"

// holder cannot tell here who has the lock of f.
func holder(path string, _ *os.File) string {
	return "another process (find it with fuser " + quote(path) + ")"
}
