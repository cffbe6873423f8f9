//go:build !linux

package diskspace

import "errors"

// Room is not known here: the node's own exporter tells.
func Room(string) (avail, size uint64, err error) { return 0, 0, errors.ErrUnsupported }
