package conformance

import (
	"testing"
	"time"
)

// eventually waits for a condition, and fails with what say returns.
func eventually(tb testing.TB, ok func() bool, say func() any) {
	tb.Helper()
	end := time.After(5 * time.Second)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-end:
			tb.Errorf("never came true: %v", say())
			return
		}
	}
}
