package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Config says which programs run and in which bounds. Zero values take the
// defaults named below.
type Config struct {
	// Self is the path of the calling binary (os.Executable) and SelfArgs the
	// arguments that make it call SandboxMain with those that follow.
	Self     string
	SelfArgs []string
	// FFmpeg and FFprobe are names or paths; default "ffmpeg", "ffprobe".
	FFmpeg, FFprobe string
	// Require lists the protections without which New fails. Nil means Limits,
	// NoNewPrivs and Seccomp, which every supported kernel has.
	Require []Protection

	// MaxDuration bounds the decoded audio; default 6 h.
	MaxDuration time.Duration
	// MaxMemory bounds the address space in bytes; default 1 GiB.
	MaxMemory uint64
	// MaxCPU bounds the CPU time of one transcode; default 30 min. Probes get a
	// twentieth, at least 5 s.
	MaxCPU time.Duration
	// MaxWall bounds the time that a transcode takes; default 2 h.
	MaxWall time.Duration
}

// Runner starts ffmpeg and ffprobe in the sandbox. It is safe for concurrent
// use; it does not bound how many run at once.
type Runner struct {
	cfg      Config
	flags    uintptr // clone flags that this machine allows
	have     []Protection
	version  string
	netns    string
	userns   string
	selfArgs []string
}

const (
	maxFiles  = 64
	maxStderr = 16 << 10
	waitDelay = 2 * time.Second
)

// New finds the programs and tries the sandbox out. It fails with ErrSandbox
// when a required protection is missing, and with another error when a program
// is.
func New(ctx context.Context, cfg Config) (*Runner, error) {
	if cfg.FFmpeg == "" {
		cfg.FFmpeg = "ffmpeg"
	}
	if cfg.FFprobe == "" {
		cfg.FFprobe = "ffprobe"
	}
	if cfg.Require == nil {
		cfg.Require = []Protection{Limits, NoNewPrivs, Seccomp}
	}
	if cfg.MaxDuration == 0 {
		cfg.MaxDuration = 6 * time.Hour
	}
	if cfg.MaxMemory == 0 {
		cfg.MaxMemory = 1 << 30
	}
	if cfg.MaxCPU == 0 {
		cfg.MaxCPU = 30 * time.Minute
	}
	if cfg.MaxWall == 0 {
		cfg.MaxWall = 2 * time.Hour
	}
	var err error
	if cfg.FFmpeg, err = locate(cfg.FFmpeg); err != nil {
		return nil, err
	}
	if cfg.FFprobe, err = locate(cfg.FFprobe); err != nil {
		return nil, err
	}
	r := &Runner{cfg: cfg, selfArgs: slices.Clone(cfg.SelfArgs)}
	// Without /proc there is nothing to compare with, and nothing is claimed.
	r.netns, _ = os.Readlink("/proc/self/ns/net")
	r.userns, _ = os.Readlink("/proc/self/ns/user")
	return r, r.tryOut(ctx)
}

func locate(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	return path, nil
}

// tryOut finds the strongest namespaces that this machine allows: containers
// often forbid them. Without them seccomp still leaves no way to the network.
func (r *Runner) tryOut(ctx context.Context) error {
	const apart = syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	var faults []error
	for _, flags := range []uintptr{apart | syscall.CLONE_NEWUSER, apart, 0} {
		r.flags = flags
		err := r.readVersion(ctx)
		if err == nil {
			return nil
		}
		faults = append(faults, err)
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("%w: %w", ErrSandbox, errors.Join(faults...))
}

func (r *Runner) readVersion(ctx context.Context) error {
	var out strings.Builder
	p, err := r.start(ctx, r.probe(r.cfg.FFmpeg, []string{"-version"}, nil))
	if err != nil {
		return err
	}
	_, err = io.Copy(&out, io.LimitReader(p.outputs[0], 4096))
	if end := p.wait(ctx); end.err != nil {
		return end.err
	}
	version, _, _ := strings.Cut(out.String(), "\n")
	if err != nil || !strings.HasPrefix(version, "ffmpeg version ") {
		return fmt.Errorf("%s does not tell its version: %q", r.cfg.FFmpeg, clean(version))
	}
	r.version, r.have = clean(version), p.have
	return nil
}

// Protections lists what was in force when the Runner was made, and is in force
// for every process that it starts.
func (r *Runner) Protections() []Protection { return slices.Clone(r.have) }

// Missing lists the protections that this machine does not give.
func (r *Runner) Missing() []Protection {
	return slices.DeleteFunc(AllProtections(), func(p Protection) bool { return slices.Contains(r.have, p) })
}

// Version is the first line that ffmpeg prints about itself.
func (r *Runner) Version() string { return r.version }

// probe is a short command that prints on its standard output.
func (r *Runner) probe(program string, args []string, in *os.File) command {
	return command{
		program: program, args: args, in: in, outputs: 1, stdout: true,
		cpu: max(r.cfg.MaxCPU/20, 5*time.Second), wall: max(r.cfg.MaxWall/20, 30*time.Second),
	}
}
