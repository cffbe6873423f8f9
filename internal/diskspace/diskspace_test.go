package diskspace

import (
	"errors"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/fault"
)

func TestReserve_Check(t *testing.T) {
	now := time.Unix(1000, 0)
	r := New("data", 100, func() time.Time { return now })
	left, asked := uint64(100), 0
	var failed error
	r.room = func(dir string) (uint64, uint64, error) {
		if asked++; dir != "data" {
			t.Errorf("asked about %q", dir)
		}
		return left, 1 << 40, failed
	}
	if err := r.Check(); err != nil {
		t.Errorf("as much as is kept: %v", err)
	}
	left = 99
	if err := r.Check(); err != nil || asked != 1 {
		t.Errorf("at the same moment: asked %d times, %v", asked, err)
	}
	now = now.Add(fresh)
	if err := r.Check(); !errors.Is(err, fault.ErrDiskFull) || fault.HTTPStatus(err) != 507 {
		t.Errorf("less than is kept: %v", err)
	}
	now = now.Add(-time.Hour)
	left = 100
	if err := r.Check(); err != nil {
		t.Errorf("space is back, and the clock was set: %v", err)
	}
	now, failed = now.Add(fresh), errors.New("no")
	if err := r.Check(); err != nil {
		t.Errorf("nobody knows: %v", err)
	}
	if err := (*Reserve)(nil).Check(); err != nil {
		t.Error(err)
	}
}

func TestFree(t *testing.T) {
	n, err := New(t.TempDir(), 1, time.Now).Free()
	if err != nil || n == 0 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
