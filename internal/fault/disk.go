package fault

import (
	"errors"
	"syscall"
)

// ErrDiskFull is what a caller is told when the server has no space left: less, or later.
var ErrDiskFull = New(Exhausted, "the server's disk is full")

// Disk gives an error that says that a disk or a quota is used up its kind. Any other
// error stays as it is.
func Disk(err error) error {
	if err == nil || errors.Is(err, ErrDiskFull) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return ErrDiskFull.Because(err)
	}
	return err
}
