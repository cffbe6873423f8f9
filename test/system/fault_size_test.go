//go:build system && fault

package system

import "flag"

// fullFault asks for the experiments at their full size and intensity, which takes most of
// an hour; without it each takes seconds.
var fullFault = flag.Bool("fault.full", false, "run the fault experiments at their full size") //nolint:gochecknoglobals // a flag

// scaled is a value of a quick run or of a full one.
func scaled[T any](quick, full T) T {
	if *fullFault {
		return full
	}
	return quick
}
