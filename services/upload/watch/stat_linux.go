package watch

import (
	"io/fs"
	"syscall"
	"time"
)

const nonblock = syscall.O_NONBLOCK

func describe(name string, info fs.FileInfo) File {
	f := File{Path: name, Size: info.Size(), ModTime: info.ModTime().UTC()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		f.Device, f.Inode = uint64(s.Dev), s.Ino //nolint:unconvert // Dev is narrower on some platforms
		f.changed = time.Unix(int64(s.Ctim.Sec), int64(s.Ctim.Nsec))
	}
	return f
}
