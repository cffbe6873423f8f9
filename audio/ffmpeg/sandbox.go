package ffmpeg

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Protection is one layer of the sandbox.
type Protection string

// The layers.
const (
	// Limits: address space, CPU, file size, descriptors, core, priority.
	Limits Protection = "limits"
	// NoNewPrivs: no set-uid program gives more rights.
	NoNewPrivs Protection = "no-new-privs"
	// Landlock: no file but the libraries and the source.
	Landlock Protection = "landlock"
	// Seccomp: a short list of system calls, no sockets among them.
	Seccomp Protection = "seccomp"
	// NetNS: a network namespace without a device.
	NetNS Protection = "network-namespace"
	// UserNS: a user namespace as an unprivileged user.
	UserNS Protection = "user-namespace"
)

// AllProtections lists every layer.
func AllProtections() []Protection {
	return []Protection{Limits, NoNewPrivs, Landlock, Seccomp, NetNS, UserNS}
}

// exitSandbox is the status of a process whose sandbox could not be built.
const exitSandbox = 125

// reportFD is the descriptor of the pipe on which the sandbox tells its
// protections, and an error. It closes at exec.
const reportFD = 3

// sandboxSpec is what SandboxMain gets in its arguments.
type sandboxSpec struct {
	memory, cpu, files uint64
	netns, userns      string // the parent's namespaces, to compare with
	require            string
}

func (s *sandboxSpec) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Uint64Var(&s.memory, "memory", 0, "address space in bytes")
	fs.Uint64Var(&s.cpu, "cpu", 0, "CPU time in seconds")
	fs.Uint64Var(&s.files, "files", 0, "open files")
	fs.StringVar(&s.netns, "netns", "", "network namespace of the parent")
	fs.StringVar(&s.userns, "userns", "", "user namespace of the parent")
	fs.StringVar(&s.require, "require", "", "protections that must be in force")
	return fs
}

func (s *sandboxSpec) args() []string {
	return []string{
		fmt.Sprintf("-memory=%d", s.memory), fmt.Sprintf("-cpu=%d", s.cpu), fmt.Sprintf("-files=%d", s.files),
		"-netns=" + s.netns, "-userns=" + s.userns, "-require=" + s.require, "--",
	}
}

// SandboxMain locks the current process up and becomes the program named in
// args. It returns an exit status only when that fails. main calls it with the
// arguments after the hidden subcommand; it is of no use to a person.
func SandboxMain(args []string) int {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	mapHeap()
	unix.CloseOnExec(reportFD)
	report := os.NewFile(reportFD, "report")
	if err := enterSandbox(args, report); err != nil {
		if report == nil {
			return exitSandbox
		}
		fmt.Fprintf(report, "error %v\n", err)
	}
	return exitSandbox
}

// mapHeap makes the runtime map more heap than what follows needs: the address
// space that Go reserves may already be over the limit when it comes into force,
// and from then on not a byte more can be mapped, not even to fill the rest of
// what is reserved.
func mapHeap() {
	b := make([]byte, 8<<20)
	runtime.KeepAlive(b)
	runtime.GC() // frees b, and leaves it mapped
}

func enterSandbox(args []string, report io.Writer) error {
	var spec sandboxSpec
	fs := spec.flags()
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("read arguments: %w", err)
	}
	argv := fs.Args()
	if len(argv) == 0 || spec.memory == 0 || spec.cpu == 0 || spec.files == 0 {
		return errors.New("a program and its limits are needed")
	}
	rules, err := landlockRules(argv[0])
	if err != nil {
		return fmt.Errorf("read %s: %w", argv[0], err)
	}
	var got []Protection
	if err := setLimits(spec); err != nil {
		return fmt.Errorf("set limits: %w", err)
	}
	got = append(got, Limits)
	if otherNamespace("/proc/self/ns/net", spec.netns) {
		got = append(got, NetNS)
	}
	if otherNamespace("/proc/self/ns/user", spec.userns) {
		got = append(got, UserNS)
	}
	if err := noNewPrivs(); err == nil {
		got = append(got, NoNewPrivs)
	}
	var faults []error
	if err := restrictFiles(rules); err == nil {
		got = append(got, Landlock)
	} else {
		faults = append(faults, fmt.Errorf("landlock: %w", err))
	}
	if err := restrictCalls(); err == nil {
		got = append(got, Seccomp)
	} else {
		faults = append(faults, fmt.Errorf("seccomp: %w", err))
	}
	for p := range strings.SplitSeq(spec.require, ",") {
		if p != "" && !slices.Contains(got, Protection(p)) {
			return fmt.Errorf("no %s on this machine (%w)", p, errors.Join(faults...))
		}
	}
	for _, p := range got {
		fmt.Fprintf(report, "have %s\n", p)
	}
	env := os.Environ()
	// The address space comes last: the Go runtime reserves more than it uses.
	if err := setLimit(unix.RLIMIT_AS, spec.memory); err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	return fmt.Errorf("start %s: %w", argv[0], syscall.Exec(argv[0], argv, env))
}

func otherNamespace(path, parent string) bool {
	now, err := os.Readlink(path)
	return err == nil && parent != "" && now != parent
}

func setLimits(spec sandboxSpec) error {
	// Nothing is written to files: all results leave by pipes.
	if err := setLimit(unix.RLIMIT_FSIZE, 0); err != nil {
		return err
	}
	if err := setLimit(unix.RLIMIT_CORE, 0); err != nil {
		return err
	}
	// The program may catch the soft limit's signal; the hard limit kills.
	cpu := unix.Rlimit{Cur: spec.cpu, Max: spec.cpu + 1}
	if err := unix.Setrlimit(unix.RLIMIT_CPU, &cpu); err != nil {
		return err
	}
	// Through package syscall, which otherwise puts the old limit back at exec.
	files := syscall.Rlimit{Cur: spec.files, Max: spec.files}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	return unix.Setpriority(unix.PRIO_PROCESS, 0, 10)
}

func setLimit(resource int, value uint64) error {
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: value, Max: value})
}
