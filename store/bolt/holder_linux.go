package bolt

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// holder names the process that has the lock of f. The kernel lists locks by
// device and inode; where it shows none, as for a holder in another container,
// the answer stays general.
func holder(path string, f *os.File) string {
	unknown := "another process (find it with fuser " + quote(path) + ")"
	st, err := f.Stat()
	if err != nil {
		return unknown
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return unknown
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return unknown
	}
	defer locks.Close()
	dev := uint64(sys.Dev)
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(dev), unix.Minor(dev), sys.Ino)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 4711 fe:00:131074 0 EOF
		w := strings.Fields(lines.Text())
		if len(w) < 6 || w[1] != "FLOCK" || w[5] != want {
			continue
		}
		pid, err := strconv.Atoi(w[4])
		if err != nil || pid <= 0 {
			continue
		}
		if pid == os.Getpid() {
			return fmt.Sprintf("this process (pid %d)", pid)
		}
		name, _ := os.ReadFile("/proc/" + w[4] + "/comm")
		if len(name) == 0 {
			return fmt.Sprintf("the process with pid %d", pid)
		}
		return fmt.Sprintf("%s (pid %d)", strings.TrimSpace(string(name)), pid)
	}
	return unknown
}
