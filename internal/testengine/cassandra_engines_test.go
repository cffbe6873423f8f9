//go:build engines

package testengine

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// options asks a node what it supports, with a frame of the native protocol, and gives
// the opcode of its answer.
func options(t *testing.T, host string, limit time.Duration) (byte, error) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", host)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write(append([]byte{4, 0, 0, 0, 5}, make([]byte, 4)...)); err != nil {
		return 0, err
	}
	answer := make([]byte, 9)
	_, err = c.Read(answer)
	return answer[4], err
}

func TestCassandra(t *testing.T) {
	const supported = 6
	c := Cassandra(t)
	if op, err := options(t, c.Host, time.Minute); err != nil || op != supported {
		t.Fatalf("options: %d, %v", op, err)
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	if op, err := options(t, c.Host, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a paused node answers %d, %v", op, err)
	}
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	if op, err := options(t, c.Host, time.Minute); err != nil || op != supported {
		t.Errorf("after the pause: %d, %v", op, err)
	}
	c.Crash()
	if op, err := options(t, c.Host, time.Minute); err == nil {
		t.Errorf("a node that has crashed answers %d", op)
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if op, err := options(t, c.Host, time.Minute); err != nil || op != supported {
		t.Errorf("after the crash: %d, %v", op, err)
	}
}
