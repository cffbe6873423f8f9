package diskspace

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Room is what a user without privileges may still write in the file system of dir, and
// its size, in bytes.
func Room(dir string) (avail, size uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("ask for free space: %w", err)
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}
