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
