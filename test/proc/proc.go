// Package proc watches the processes of a measurement: what they use, what they hold, and
// whether something has come about yet.
package proc

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used and holds at a moment.
type Usage struct {
	At   time.Time
	CPU  time.Duration
	RSS  uint64 // bytes resident, of files too
	Anon uint64 // bytes resident of its own
	Peak uint64 // most bytes resident so far
}

// Share is the processor time between two moments in per cent of one core.
func Share(a, b Usage) float64 { return 100 * float64(b.CPU-a.CPU) / float64(b.At.Sub(a.At)) }

// Look reads what a process uses now; of one that has ended, nothing.
func Look(pid int) Usage {
	u := Usage{At: time.Now(), CPU: CPU(pid)}
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		to := map[string]*uint64{"VmRSS": &u.RSS, "RssAnon": &u.Anon, "VmHWM": &u.Peak}[name]
		if fields := strings.Fields(rest); to != nil && len(fields) > 0 {
			*to, _ = strconv.ParseUint(fields[0], 10, 64) // the kernel writes numbers
			*to <<= 10
		}
	}
	return u
}

// CPU is what a process has used so far, by the scheduler's clock of its threads, in
// nanoseconds: a Go program ends none of them.
func CPU(pid int) time.Duration {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0
	}
	var sum time.Duration
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if fields := strings.Fields(string(b)); err == nil && len(fields) > 0 {
			n, _ := strconv.ParseInt(fields[0], 10, 64) // the kernel writes numbers
			sum += time.Duration(n)
		}
	}
	return sum
}

// Children is what the children of a process have used that have ended: field cutime and
// cstime of proc_pid_stat(5), in hundredths of a second.
func Children(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	// Behind the name in brackets the fields count from 3.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var sum time.Duration
	for _, f := range fields[16-3 : 18-3] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read processor time: %w", err)
		}
		sum += time.Duration(ticks) * time.Second / 100 // USER_HZ, fixed by the kernel's interface
	}
	return sum, nil
}

// Machine names processor and load, which the figures depend on.
func Machine() string { return Model() + ", " + Load() }

// Model is the processor.
func Model() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// Load is how busy the machine is.
func Load() string {
	b, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(b))
	if err != nil || len(fields) < 3 {
		return "unknown load"
	}
	return "load average " + strings.Join(fields[:3], " ")
}

// Until waits until try has no error any more, or for limit.
func Until(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}
