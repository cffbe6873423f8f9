// Package child runs other programs so that they end with their pipes and not by the
// ctrl-C that is meant for seguectl, and keeps what they complain of.
package child

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"sync"
)

// Command is a program to start, and what it will have written to its standard error.
// ctx ends it at once.
func Command(ctx context.Context, path string, args ...string) (*exec.Cmd, *Complaint) {
	cmd := exec.CommandContext(ctx, path, args...)
	detach(cmd)
	c := &Complaint{}
	cmd.Stderr = c
	return cmd, c
}

// Complaint keeps the beginning of what is written.
type Complaint struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (c *Complaint) Write(p []byte) (int, error) {
	const most = 2 << 10
	c.mu.Lock()
	defer c.mu.Unlock()
	c.b.Write(p[:min(len(p), max(most-c.b.Len(), 0))])
	return len(p), nil
}

func (c *Complaint) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(c.b.String(), "\ufffd"))
}
