//go:build engines

package testengine

import (
	"bufio"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// ask sends Redis a line and gives the first one of the answer.
func ask(t *testing.T, addr, line string, limit time.Duration) (string, error) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(answer), err
}

func TestRedis(t *testing.T) {
	r := Redis(t)
	if got, err := ask(t, r.Addr, "SET k v", time.Minute); err != nil || got != "+OK" {
		t.Fatalf("set: %q, %v", got, err)
	}
	if err := r.Pause(); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, r.Addr, "PING", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a paused server answers %q, %v", got, err)
	}
	if err := r.Resume(); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, r.Addr, "EXISTS k", time.Minute); err != nil || got != ":1" {
		t.Errorf("after the pause: %q, %v", got, err)
	}
	r.Crash()
	if got, err := ask(t, r.Addr, "PING", time.Minute); err == nil {
		t.Errorf("a crashed server answers %q", got)
	}
	if err := r.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, r.Addr, "EXISTS k", time.Minute); err != nil || got != ":0" {
		t.Errorf("after the crash: %q, %v", got, err)
	}
}
