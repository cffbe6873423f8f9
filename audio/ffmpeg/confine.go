package ffmpeg

import (
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// landlockRules lets the program and its dynamic loader run, its libraries be
// read, and the source on descriptor 0 be opened again by /proc/self/fd/0.
func landlockRules(program string) ([]landlock.Rule, error) {
	const (
		read = landlock.AccessFSSet(llsys.AccessFSReadFile)
		run  = landlock.AccessFSSet(llsys.AccessFSReadFile | llsys.AccessFSExecute)
	)
	loader, err := interpreter(program)
	if err != nil {
		return nil, err
	}
	rules := []landlock.Rule{landlock.PathAccess(run, program)}
	if loader != "" {
		rules = append(rules, landlock.PathAccess(run, loader))
	}
	own := filepath.Join(filepath.Dir(filepath.Dir(program)), "lib")
	for _, dir := range []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", own} {
		rules = append(rules, landlock.PathAccess(read, dir).IgnoreIfMissing())
	}
	for _, file := range []string{"/etc/ld.so.cache", "/dev/null", "/dev/urandom"} {
		rules = append(rules, landlock.PathAccess(read, file).IgnoreIfMissing())
	}
	if info, err := os.Stdin.Stat(); err == nil && info.Mode().IsRegular() {
		rules = append(rules, landlock.PathAccess(read, "/proc/self/fd/0"))
	}
	return rules, nil
}

// interpreter returns the dynamic loader that an ELF program names, or "".
func interpreter(program string) (string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err != nil {
			return "", err
		}
		return strings.TrimRight(string(name), "\x00"), nil
	}
	return "", nil
}

// restrictFiles puts Landlock in force for files, TCP and signals, as far as the
// kernel has them; files are what it must have.
func restrictFiles(rules []landlock.Rule) error {
	if version, err := llsys.LandlockGetABIVersion(); err != nil || version < 1 {
		return errors.New("not in this kernel, or not enabled")
	}
	return landlock.V9.BestEffort().Restrict(rules...)
}

func noNewPrivs() error { return llsys.AllThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }

// restrictCalls loads the seccomp filter into all threads. Calls that are not
// on the list fail with EPERM rather than kill, since libraries try many things
// and live without them.
func restrictCalls() error {
	if !seccomp.Supported() {
		return errors.New("not in this kernel")
	}
	const noSuchCall = seccomp.Action(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionErrno,
			Syscalls: []seccomp.SyscallGroup{
				// The C library falls back to clone, whose flags a filter can see.
				{Action: noSuchCall, Names: []string{"clone3"}},
				{
					Action: seccomp.ActionAllow,
					Names:  allowedCalls(),
					NamesWithCondtions: []seccomp.NameWithConditions{{
						Name: "clone",
						Conditions: seccomp.ArgumentConditions{{
							Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD,
						}},
					}},
				},
			},
		},
	})
}

// allowedCalls is what ffmpeg, ffprobe, the dynamic loader and the last steps
// of the Go runtime need. Files are Landlock's part: openat and execve reach
// only what its rules name.
func allowedCalls() []string {
	calls := []string{
		"brk", "clock_getres", "clock_gettime", "clock_nanosleep", "close", "close_range", "dup", "dup3", "epoll_create1",
		"epoll_ctl", "epoll_pwait", "execve", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fcntl",
		"fstat", "fstatfs", "futex", "get_mempolicy", "get_robust_list", "getcwd", "getdents64", "getegid", "geteuid",
		"getgid", "getpgid", "getpid", "getppid", "getpriority", "getrandom", "getrlimit", "getrusage", "gettid",
		"gettimeofday", "getuid", "ioctl", "lseek", "madvise", "membarrier", "mincore", "mlock", "mmap", "mprotect",
		"mremap", "munmap", "nanosleep", "newfstatat", "openat", "pipe2", "ppoll", "prctl", "pread64", "prlimit64",
		"pselect6", "read", "readlinkat", "readv", "restart_syscall", "rseq", "rt_sigaction", "rt_sigpending",
		"rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sched_getaffinity", "sched_getparam",
		"sched_getscheduler", "sched_yield", "set_mempolicy", "set_robust_list", "set_tid_address", "sigaltstack",
		"statfs", "statx", "sysinfo", "tgkill", "times", "uname", "write", "writev",
	}
	switch runtime.GOARCH {
	case "amd64":
		calls = append(calls, "access", "arch_prctl", "epoll_wait", "lstat", "open", "pipe", "poll", "readlink", "select", "stat", "time")
	case "arm64":
		calls = append(calls, "setrlimit")
	}
	return calls
}
