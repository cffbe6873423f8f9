package testengine

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the engine when the test binary dies without
// cleaning up, as it does at its time limit.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
