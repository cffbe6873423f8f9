package conformance

import (
	"testing"
	"time"
)

// eventually waits for a condition, and fails with what say returns.
func eventually(tb testing.TB, ok func() bool, say func() any) {
	tb.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	tb.Errorf("never came true: %v", say())
}
