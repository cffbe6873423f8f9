package diskspace

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// free is what a user without privileges may still take.
func free(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("ask for free space: %w", err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}
