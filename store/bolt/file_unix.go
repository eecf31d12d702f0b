//go:build linux || darwin || freebsd || openbsd || netbsd || dragonfly

package bolt

import (
	"os"
	"syscall"
)

func openNoFollow(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func ownerAndLinks(st os.FileInfo) (owner int, links uint64) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, 0
	}
	return int(sys.Uid), uint64(sys.Nlink)
}

// tryLock returns errHeld where somebody else has the lock.
func tryLock(f *os.File) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			return errHeld
		default:
			return err
		}
	}
}

func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// syncDir makes a new name in dir durable.
func syncDir(dir *os.File) error { return dir.Sync() }

// onReadOnly reports whether path is on a file system that cannot be written to
// now, such as one that the kernel made read-only after an error.
func onReadOnly(path string) bool {
	const writable = 2 // W_OK
	return syscall.Access(path, writable) == syscall.EROFS
}

// waitLock waits for the lock of f.
func waitLock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			return err
		}
	}
}

var fullErrnos = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}
