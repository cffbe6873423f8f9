//go:build !linux

package obs

import "errors"

// room is not known here: the node's own exporter tells.
func room(string) (avail, size uint64, err error) { return 0, 0, errors.ErrUnsupported }
