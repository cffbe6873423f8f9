package sqlitedb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrLocked says that another process has the data folder open.
var ErrLocked = errors.New("data folder is in use")

// lockName stays in the folder: removing it would let two processes lock two files.
const lockName = "segue.lock"

// DirLock is held on a data folder until Unlock, or until the process ends in any way.
type DirLock struct{ file *os.File }

// LockDir makes this process the only one to use dir. The error names the process that
// has it and is [ErrLocked].
func LockDir(dir string) (*DirLock, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock data folder: %w", err)
		}
		pid, _ := io.ReadAll(io.LimitReader(f, 32)) // only for the message
		return nil, fmt.Errorf("%w: %s is held by process %s", ErrLocked, path, strings.TrimSpace(string(pid)))
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data folder: %w", err), f.Close())
	}
	return &DirLock{file: f}, nil
}

// Unlock lets another process in.
func (l *DirLock) Unlock() error { return l.file.Close() }
