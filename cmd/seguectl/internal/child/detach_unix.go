//go:build unix

package child

import (
	"os/exec"
	"syscall"
)

// detach puts the program into a group of its own: a terminal signals the whole group.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
