package ffmpeg

import (
	"errors"
	"fmt"
)

var (
	// ErrNotAudio means that no sound could be decoded: no audio file, an unknown
	// or a forbidden format.
	ErrNotAudio = errors.New("ffmpeg: not an audio file")
	// ErrTruncated means that decoding ended before the end of the source. What
	// came before it has been written.
	ErrTruncated = errors.New("ffmpeg: audio ends early")
	// ErrTooLong means that the source has more audio than allowed.
	ErrTooLong = errors.New("ffmpeg: audio is too long")
	// ErrKilled means that a resource limit ended the process; errors.As gives a
	// *KilledError that names it.
	ErrKilled = errors.New("ffmpeg: stopped by a limit")
	// ErrSandbox means that the sandbox could not be built as required. It says
	// nothing about the source.
	ErrSandbox = errors.New("ffmpeg: sandbox")
)

// Limit names the bound that ended a process.
type Limit string

// Limits that a KilledError names.
const (
	LimitCPU    Limit = "cpu time"
	LimitMemory Limit = "memory"
	LimitWall   Limit = "wall-clock time"
	LimitOutput Limit = "output size"
	// LimitSystem is a signal from outside or a crash of the program.
	LimitSystem Limit = "signal"
)

// KilledError says which limit ended the process. It matches ErrKilled.
type KilledError struct {
	Limit  Limit
	Detail string
}

func (e *KilledError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("%v: %s", ErrKilled, e.Limit)
	}
	return fmt.Sprintf("%v: %s: %s", ErrKilled, e.Limit, e.Detail)
}

// Is reports whether target is ErrKilled.
func (e *KilledError) Is(target error) bool { return target == ErrKilled }
