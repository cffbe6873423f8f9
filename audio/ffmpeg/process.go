package ffmpeg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// process is one run of a program in the sandbox.
type process struct {
	cmd     *exec.Cmd
	outputs []*os.File // read ends; the program has them as descriptors 4 and up
	have    []Protection
	cancel  context.CancelFunc
	late    func() bool // the wall-clock limit has passed
	stderr  *tail
	cpu     time.Duration
}

// command is what start runs.
type command struct {
	program string
	args    []string
	in      *os.File // descriptor 0, may be nil
	outputs int      // pipes, from descriptor firstOutput on
	stdout  bool     // the first pipe is descriptor 1 too
	cpu     time.Duration
	wall    time.Duration
}

// start runs c in the sandbox. The caller reads every output to its end and
// then calls wait.
func (r *Runner) start(ctx context.Context, c command) (*process, error) {
	spec := sandboxSpec{
		memory: r.cfg.MaxMemory, cpu: max(uint64(c.cpu/time.Second), 1), files: maxFiles,
		netns: r.netns, userns: r.userns, require: joinProtections(r.cfg.Require),
	}
	argv := slices.Concat(r.selfArgs, spec.args(), []string{c.program}, c.args)
	run, cancel := context.WithTimeout(ctx, c.wall)
	cmd := exec.CommandContext(run, r.cfg.Self, argv...)
	late := func() bool { return errors.Is(run.Err(), context.DeadlineExceeded) }
	p := &process{cmd: cmd, cancel: cancel, late: late, stderr: &tail{}, cpu: c.cpu}
	// One arena: each further one reserves 64 MiB of the address space.
	cmd.Env = []string{"LC_ALL=C", "MALLOC_ARENA_MAX=1", "GOMAXPROCS=1"}
	cmd.Dir = "/"
	if c.in != nil {
		cmd.Stdin = c.in
	}
	cmd.Stderr = p.stderr
	cmd.WaitDelay = waitDelay
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: r.flags}
	if r.flags&syscall.CLONE_NEWUSER != 0 {
		const nobody = 65534
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getegid(), Size: 1}}
	}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	report, err := p.launch(c)
	if err != nil {
		defer cancel()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: start %s: %w", ErrSandbox, r.cfg.Self, err)
	}
	defer report.Close()
	if err := p.readReport(report); err != nil {
		end := p.wait(ctx)
		var killed *KilledError
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.As(end.err, &killed) && killed.Limit == LimitWall:
			return nil, killed
		}
		return nil, fmt.Errorf("%w: %w", ErrSandbox, err)
	}
	return p, nil
}

// launch makes the pipes and starts the process; it returns the read end of the
// report.
func (p *process) launch(c command) (*os.File, error) {
	var ours, theirs []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			_ = f.Close() // of a pipe: nothing is lost
		}
	}
	defer func() { closeAll(theirs) }()
	for range c.outputs + 1 {
		pr, pw, err := os.Pipe()
		if err != nil {
			closeAll(ours)
			return nil, err
		}
		widen(pr)
		ours, theirs = append(ours, pr), append(theirs, pw)
	}
	p.cmd.ExtraFiles = theirs
	if c.stdout {
		p.cmd.Stdout = theirs[1]
	}
	if err := p.cmd.Start(); err != nil {
		closeAll(ours)
		return nil, err
	}
	p.outputs = ours[1:]
	return ours[0], nil
}

// pipeSize is what a pipe may hold, in bytes: each time it is full or empty two processes
// change places.
const pipeSize = 256 << 10

// widen makes a pipe hold more. Where the system has no more to give, it works as well.
func widen(pipe *os.File) {
	conn, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
}

// readReport reads what SandboxMain says before it becomes the program.
func (p *process) readReport(report io.Reader) error {
	scan := bufio.NewScanner(io.LimitReader(report, 8<<10))
	for scan.Scan() {
		what, text, _ := strings.Cut(scan.Text(), " ")
		if what != "have" {
			return errors.New(clean(text))
		}
		p.have = append(p.have, Protection(text))
	}
	if len(p.have) == 0 {
		return fmt.Errorf("%s does not enter the sandbox: %s", p.cmd.Path, p.stderr)
	}
	return nil
}

// outcome is how a process ended.
type outcome struct {
	// err is set when the process did not end by itself with status 0: the
	// caller's context error, a *KilledError, or *exec.ExitError.
	err    error
	stderr string
	cpu    time.Duration
}

// wait closes the outputs, waits for the end of the process and judges it.
func (p *process) wait(ctx context.Context) outcome {
	defer p.cancel()
	for _, f := range p.outputs {
		_ = f.Close()
	}
	err := p.cmd.Wait()
	o := outcome{err: err, stderr: p.stderr.String()}
	if s := p.cmd.ProcessState; s != nil {
		o.cpu = s.UserTime() + s.SystemTime()
	}
	if err == nil {
		return o
	}
	switch {
	case ctx.Err() != nil:
		o.err = ctx.Err()
	case p.late():
		o.err = &KilledError{Limit: LimitWall}
	case overCPU(p.cmd.ProcessState, o.cpu, p.cpu):
		o.err = &KilledError{Limit: LimitCPU}
	case strings.Contains(o.stderr, "Cannot allocate memory"):
		o.err = &KilledError{Limit: LimitMemory, Detail: o.stderr}
	case signalled(p.cmd.ProcessState):
		o.err = &KilledError{Limit: LimitSystem, Detail: p.cmd.ProcessState.String()}
	}
	return o
}

// caughtSignal is the status of FFmpeg after a signal that it caught. Only the
// CPU limit's reaches it: the runner kills by SIGKILL.
const caughtSignal = 255

// overCPU tells whether the kernel's CPU limit ended the process. The kernel
// counts for the limit by clock ticks and reports precise times, and the two
// differ by a lot for a program of many threads: the report alone decides only
// when it reaches the limit. 255 is -EPERM too, hence a bound for that one.
func overCPU(s *os.ProcessState, used, limit time.Duration) bool {
	if s == nil {
		return false
	}
	status, ok := s.Sys().(syscall.WaitStatus)
	switch {
	case used >= limit:
		return true
	case !ok:
		return false
	case status.Signaled():
		return status.Signal() == syscall.SIGXCPU
	}
	return status.ExitStatus() == caughtSignal && used >= limit/4
}

func signalled(s *os.ProcessState) bool {
	if s == nil {
		return false
	}
	status, ok := s.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}

func joinProtections(ps []Protection) string {
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = string(p)
	}
	return strings.Join(names, ",")
}

// tail keeps the first maxStderr bytes that a program writes, and drops the
// rest.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[:min(len(p), maxStderr-len(t.buf))]...)
	return len(p), nil
}

// String is the text in one line, without control characters: it repeats bytes
// of the source.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return clean(string(t.buf))
}

// clean makes hostile text fit for a log line.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, strings.ReplaceAll(strings.TrimSpace(s), "\n", "; "))
	if r := []rune(s); len(r) > 1000 {
		return string(r[:1000]) + "…"
	}
	return s
}

// checkSource makes sure that f is a regular file that the program can read and
// nothing else.
func checkSource(f *os.File) error {
	if f == nil {
		return errors.New("no source file")
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("read source: %s is no regular file", info.Mode())
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	flags := 0
	var flagErr error
	if err := conn.Control(func(fd uintptr) { flags, flagErr = unix.FcntlInt(fd, unix.F_GETFL, 0) }); err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	if flagErr != nil {
		return fmt.Errorf("read source: %w", flagErr)
	}
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		return errors.New("read source: the file is open for writing")
	}
	if info.Size() == 0 {
		return fmt.Errorf("%w: empty file", ErrNotAudio)
	}
	return nil
}
