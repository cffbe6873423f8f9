package ffmpeg_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// escape tries what a program that an attacker has taken over would try, by bare
// system calls, and returns 0 when it gets through, else 1.
func escape(how string) int {
	how, arg, _ := strings.Cut(how, "=")
	var err error
	switch how {
	case "tcp":
		_, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	case "udp6":
		_, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	case "unix":
		_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	case "io_uring":
		params := make([]byte, 256)
		_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 8, uintptr(unsafe.Pointer(&params[0])), 0)
		err = errnoOf(errno)
	case "read":
		_, err = unix.Open(arg, unix.O_RDONLY, 0)
	case "write":
		_, err = unix.Open(arg, unix.O_WRONLY|unix.O_CREAT, 0o600)
	case "remove":
		err = unix.Unlink(arg)
	case "exec":
		err = unix.Exec(arg, []string{arg}, nil)
	case "fork":
		_, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
		err = errnoOf(errno)
	case "ptrace":
		err = unix.PtraceAttach(1)
	case "kill":
		err = unix.Kill(1, 0)
	case "namespace":
		err = unix.Unshare(unix.CLONE_NEWUSER)
	case "mount":
		err = unix.Mount("none", "/", "tmpfs", 0, "")
	case "stdin":
		_, err = unix.Open("/proc/self/fd/0", unix.O_RDONLY, 0)
	default:
		return 2
	}
	if err != nil {
		return 1
	}
	return 0
}

func errnoOf(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// TestSandboxMain_confines locks the test binary up in place of ffmpeg, since
// ffmpeg does only what it is told.
func TestSandboxMain_confines(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	source := stage(t, "source", []byte("source"))
	run := func(boxed bool, how string) (int, string) {
		args := []string{"escape", how}
		if boxed {
			args = append([]string{"sandbox-exec", "-memory=4294967296", "-cpu=10", "-files=64", "-require=landlock,seccomp,limits,no-new-privs", "--", self}, args...)
		}
		cmd := exec.Command(self, args...)
		cmd.Stdin = source
		var report bytes.Buffer
		pr, pw, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = []*os.File{pw}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = pw.Close()
		if _, err := report.ReadFrom(pr); err != nil {
			t.Fatal(err)
		}
		_ = pr.Close()
		// The status is read below, whatever it is.
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode(), report.String()
	}
	if code, report := run(true, "stdin"); code != 0 {
		t.Fatalf("the source itself cannot be opened: status %d, %s", code, report)
	}
	for _, how := range []string{
		"tcp", "udp6", "unix", "io_uring", "read=/etc/passwd", "read=" + victim, "read=/proc/1/environ", "read=/proc/self/environ",
		"write=" + victim, "write=" + filepath.Join(filepath.Dir(victim), "new"), "remove=" + victim, "exec=/bin/true",
		"fork", "ptrace", "kill", "namespace", "mount",
	} {
		t.Run(strings.NewReplacer("/", "_", filepath.Dir(victim), "DIR").Replace(how), func(t *testing.T) {
			if code, report := run(true, how); code != 1 {
				t.Errorf("status %d, want 1 (refused); %s", code, report)
			}
		})
	}
	// The check itself can fail: outside the box these go through.
	for _, how := range []string{"tcp", "read=/etc/passwd", "exec=/bin/true"} {
		if code, _ := run(false, how); code != 0 {
			t.Errorf("%s is refused outside the sandbox too: status %d", how, code)
		}
	}
}
