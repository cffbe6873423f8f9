package warehouse

import (
	"errors"

	"github.com/segue-music/segue/internal/fault"
)

var (
	// ErrRows refuses rows that do not belong into one file.
	ErrRows = errors.New("rows do not belong into one file")
	// ErrCorrupt says that a file does not read back as it was written.
	ErrCorrupt = errors.New("file of the lake is corrupt")
	// errAhead says that files hold offsets which the log has not given yet.
	errAhead = errors.New("the lake's files are ahead of the log")

	// ErrTooMuch refuses a search that would hold too much of the open hour in memory.
	ErrTooMuch = fault.New(fault.Exhausted, "too many events match: narrow the filter")
	// ErrFilter refuses a filter that cannot be meant.
	ErrFilter = fault.New(fault.Invalid, "filter is not valid")
	// ErrUnavailable says that log or lake cannot be read now.
	ErrUnavailable = fault.New(fault.Unavailable, "events cannot be read now")
)
