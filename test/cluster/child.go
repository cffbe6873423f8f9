package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Child is a program that is part of a cluster. It ends with this process, however that one
// ends.
type Child struct {
	Name string
	PID  int
	Log  string // file of what it prints
	// Doors are where a process of Segue listens.
	Doors Doors

	cmd   *exec.Cmd
	ended chan struct{} // closed after err is set
	err   error
}

// start begins a program in a group of its own: a ctrl-C in the terminal is for this process
// alone, which ends the others in their order.
func start(name, log string, env []string, program string, args ...string) (*Child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close()                     // the child has its own
	cmd := exec.Command(program, args...) //nolint:noctx // it lives until Stop
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	c := &Child{Name: name, Log: log, cmd: cmd, ended: make(chan struct{})}
	began := make(chan error)
	go func() {
		// The kernel ends the child with the thread that started it.
		runtime.LockOSThread()
		err := cmd.Start()
		began <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.ended)
		}
	}()
	if err := <-began; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c.PID = cmd.Process.Pid
	return c, nil
}

// Ended is closed once it has ended.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Stop ends it as an operator does, and by force after limit. One that has failed, or had
// to be forced, is an error.
func (c *Child) Stop(limit time.Duration) error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-c.ended:
	case <-time.After(limit):
		_ = c.cmd.Process.Kill() // as above
		<-c.ended
	}
	if c.err != nil {
		return c.explain(c.err)
	}
	return nil
}

// explain adds the end of the log to an error.
func (c *Child) explain(err error) error {
	b, readErr := os.ReadFile(c.Log)
	if readErr != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return fmt.Errorf("%s: %w\nits log %s ends with:\n%s", c.Name, err, filepath.Base(c.Log), strings.Join(lines[max(0, len(lines)-10):], "\n"))
}
