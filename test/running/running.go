// Package running keeps a program running in a folder of its own, so that another start of
// the program finds it and can end it, and nothing else.
package running

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Folder is where the data of a running program are. Who runs it holds a lock on its file
// "pid".
type Folder string

// Passable lets another user find what is theirs in a folder: PostgreSQL does not run as
// root.
const Passable = 0o711

// Open makes the folder. It is in a place where others may make folders too, and so must
// be one's own.
func Open(dir string) (*Folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, Passable); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Getuid() || info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s is not a folder of one's own", dir)
	}
	f := Folder(dir)
	return &f, nil
}

// Path is that of a name in the folder.
func (f *Folder) Path(name string) string { return filepath.Join(string(*f), name) }

// ErrRuns says that somebody else holds the lock.
var ErrRuns = errors.New("it runs already")

const (
	lockTries = 20
	lockPause = 5 * time.Millisecond
)

// Lock takes the lock for as long as the file is open, and notes who has it.
func (f *Folder) Lock() (*os.File, error) {
	file, err := os.OpenFile(f.Path("pid"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(err, file.Close())
		}
		// Who looks for a runner has it for a moment.
		if try == lockTries {
			return nil, errors.Join(ErrRuns, file.Close())
		}
		<-time.After(lockPause)
	}
	if err := file.Truncate(0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if _, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Runner is the process that holds the lock, 0 where there is none.
func (f *Folder) Runner() (pid int, err error) {
	file, err := os.Open(f.Path("pid"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return 0, nil // what is in the file is of a process that has ended
	}
	text, err := os.ReadFile(f.Path("pid"))
	if err != nil {
		return 0, err
	}
	if pid, err = strconv.Atoi(string(text)); err != nil {
		return 0, fmt.Errorf("it is just starting or ending: %w", err)
	}
	return pid, nil
}

// Stop ends the process that holds the lock, by SIGTERM, and returns when it has let go.
func (f *Folder) Stop(ctx context.Context) error {
	pid, err := f.Runner()
	if err != nil || pid == 0 {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop: %w", err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if now, err := f.Runner(); err == nil && now != pid {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("process %d does not end: %w", pid, ctx.Err())
		}
	}
}
