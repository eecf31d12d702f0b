//go:build !(linux || darwin || freebsd || openbsd || netbsd || dragonfly)

package bolt

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// The rules about owner, mode and lock have no counterpart here that was
// tested, so that no file is opened.
var errSystem = fmt.Errorf("the bolt store does not run on this system: %w", errors.ErrUnsupported)

func openNoFollow(string) (*os.File, error)   { return nil, errSystem }
func ownerAndLinks(os.FileInfo) (int, uint64) { return os.Geteuid(), 1 }
func tryLock(*os.File) error                  { return errSystem }
func unlock(*os.File)                         {}
func waitLock(*os.File) error                 { return errSystem }
func syncDir(*os.File) error                  { return errSystem }
func onReadOnly(string) bool                  { return true }

var fullErrnos = []syscall.Errno{syscall.ENOSPC}
