package pause

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !For(t.Context(), time.Second) || time.Since(began) != time.Second {
			t.Errorf("For took %s", time.Since(began))
		}
		for range 100 {
			began = time.Now()
			if !About(t.Context(), time.Second) {
				t.Error("About gave up")
			}
			if took := time.Since(began); took < time.Second/2 || took >= 3*time.Second/2 {
				t.Errorf("About took %s", took)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began = time.Now()
		if For(ctx, time.Hour) || time.Since(began) != time.Second {
			t.Errorf("with an end after 1s it took %s", time.Since(began))
		}
		if About(ctx, time.Hour) {
			t.Error("waits although ctx has ended")
		}
	})
}
