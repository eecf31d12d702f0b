//go:build unix

package attack

import (
	"os"
	"syscall"
)

// ruinous are things that can be put at a path and are no files.
func ruinous(victim string) map[string]func(path string) error {
	return map[string]func(path string) error{
		"a pipe":              func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link":              func(path string) error { return os.Symlink(victim, path) },
		"a link to a device":  func(path string) error { return os.Symlink("/dev/zero", path) },
		"a link to itself":    func(path string) error { return os.Symlink(path, path) },
		"a link into nowhere": func(path string) error { return os.Symlink(victim+".gone", path) },
		"an empty directory":  func(path string) error { return os.Mkdir(path, 0o700) },
	}
}
