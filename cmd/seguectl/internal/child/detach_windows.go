package child

import (
	"os/exec"
	"syscall"
)

// detach puts the program into a group of its own: a console signals the whole group.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
