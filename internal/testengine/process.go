package testengine

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// process is one running engine.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *journal
	done chan struct{} // closed after err is set
	err  error         // how it ended
}

// launch starts a program in folder dir. What it prints goes to its journal, which tells
// when it has printed ready; "" is never.
func launch(name, dir, ready string, env []string, program string, args ...string) (*process, error) {
	cmd := exec.Command(program, args...) //nolint:noctx // it lives until kill, a test's cleanup
	p := &process{name: name, cmd: cmd, log: newJournal(ready), done: make(chan struct{})}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, p.log, p.log
	cmd.WaitDelay = time.Second // for what it started and left behind
	dieWithParent(cmd)
	started := make(chan error)
	go func() {
		// The kernel ends the engine with the thread that started it, so that one stays
		// with this goroutine until then.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(program), err)
	}
	return p, nil
}

// wait returns when ready is closed, or the error why it cannot be any more.
func (p *process) wait(ctx context.Context, ready <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-ready:
		return nil
	case <-p.done:
		return fmt.Errorf("%s ended before it was ready: %s", p.name, p.cmd.ProcessState)
	case <-ctx.Done():
		return fmt.Errorf("%s is not ready: %w", p.name, ctx.Err())
	}
}

// kill ends the process as a crash would, and returns when it is gone.
func (p *process) kill() {
	if p == nil {
		return // it was never started
	}
	_ = p.cmd.Process.Kill() // fails where it has ended already
	<-p.done
}

// String is what the engine printed last.
func (p *process) String() string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("last of what %s printed:\n%s", p.name, p.log)
}

// endWith kills what runs at the end of the test and shows its log when that failed.
func endWith(tb Host, running func() *process) {
	tb.Helper()
	tb.Cleanup(func() {
		p := running()
		p.kill()
		if tb.Failed() {
			tb.Log(p)
		}
	})
}
