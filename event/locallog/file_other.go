//go:build !linux

package locallog

import "os"

func fdatasync(f *os.File) error { return f.Sync() }

func fallocate(*os.File, int64) {}
