package metadata

import "github.com/segue-music/segue/internal/fault"

// What callers may be told. ErrNotFound is also the answer for what is hidden.
var (
	ErrNotFound     = fault.New(fault.NotFound, "not in the catalogue")
	ErrConflict     = fault.New(fault.Conflict, "catalogue entry has changed")
	ErrNotOwner     = fault.New(fault.Denied, "track belongs to another owner")
	ErrOwner        = fault.New(fault.Exists, "track id belongs to another owner")
	ErrPageToken    = fault.New(fault.Invalid, "page token is not of this list")
	ErrAvailability = fault.New(fault.Invalid, "availability is not valid")
)
