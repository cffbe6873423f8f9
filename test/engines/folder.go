package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// folder is where running engines have their data and what is told of them. Whoever runs
// them holds a lock on its file "pid".
type folder string

// passable lets PostgreSQL, which is not root where we are, find its data in a folder.
const passable = 0o711

// openFolder makes the folder. It is in a place where others may make folders too, and so
// must be one's own.
func openFolder(dir string) (*folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, passable); err != nil && !errors.Is(err, os.ErrExist) {
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
	f := folder(dir)
	return &f, nil
}

func (f *folder) path(name string) string { return filepath.Join(string(*f), name) }

// errRuns says that somebody else holds the lock.
var errRuns = errors.New("engines run already")

// lock takes the lock for as long as the file is open, and notes who has it.
func (f *folder) lock() (*os.File, error) {
	file, err := os.OpenFile(f.path("pid"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errRuns
		}
		return nil, errors.Join(err, file.Close())
	}
	if err := file.Truncate(0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if _, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// runner is the process that runs the engines, 0 where there is none.
func (f *folder) runner() (pid int, err error) {
	file, err := os.Open(f.path("pid"))
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
	text, err := os.ReadFile(f.path("pid"))
	if err != nil {
		return 0, err
	}
	if pid, err = strconv.Atoi(string(text)); err != nil {
		return 0, fmt.Errorf("engines are just starting or ending: %w", err)
	}
	return pid, nil
}

// stop ends the process that runs the engines, and they with it.
func (f *folder) stop() error {
	pid, err := f.runner()
	if err != nil || pid == 0 {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop engines: %w", err)
	}
	limit := time.After(time.Minute)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if now, err := f.runner(); err == nil && now != pid {
			return nil
		}
		select {
		case <-tick.C:
		case <-limit:
			return fmt.Errorf("engines of process %d do not end: see %s", pid, f.path("engines.log"))
		}
	}
}

// tell writes the addresses, for a shell and as JSON; engines.sh comes last and says that
// all are ready.
func (f *folder) tell(addresses map[string]string) error {
	text, err := json.MarshalIndent(addresses, "", "  ")
	if err != nil {
		return err
	}
	var shell strings.Builder
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		fmt.Fprintf(&shell, "export ENGINE_%s='%s'\n", strings.ToUpper(name), strings.ReplaceAll(addresses[name], "'", `'\''`))
	}
	for name, text := range map[string][]byte{"engines.json": append(text, '\n'), ".engines.sh": []byte(shell.String())} {
		if err := os.WriteFile(f.path(name), text, 0o600); err != nil {
			return err
		}
	}
	return os.Rename(f.path(".engines.sh"), f.path("engines.sh"))
}

// clear removes what was told and the data.
func (f *folder) clear() error {
	return errors.Join(os.RemoveAll(f.path("engines.sh")), os.RemoveAll(f.path("engines.json")), os.RemoveAll(f.path("data")))
}
