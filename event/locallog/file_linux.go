package locallog

import (
	"errors"
	"os"
	"syscall"
)

// fdatasync leaves out the file's times, which fsync would write through the journal. It
// does write a new size.
func fdatasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// keepSize is FALLOC_FL_KEEP_SIZE of fallocate(2).
const keepSize = 1

// fallocate is a hint; not every file system knows it.
func fallocate(f *os.File, size int64) { _ = syscall.Fallocate(int(f.Fd()), keepSize, 0, size) }
