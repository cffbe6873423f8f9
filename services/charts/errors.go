package charts

import (
	"errors"

	"github.com/segue-music/segue/internal/fault"
)

// ErrPosition says that somebody else has counted a part of a batch.
var ErrPosition = errors.New("partition continues elsewhere")

// errAt refuses a moment that cannot be.
var errAt = fault.New(fault.Invalid, "at is no valid time")
