package obs

import "golang.org/x/sys/unix"

// room is what an ordinary user may still write in the file system of dir, and its size,
// in bytes.
func room(dir string) (avail, size uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}
