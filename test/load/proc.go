package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used and holds.
type usage struct {
	at   time.Time
	cpu  time.Duration
	rss  uint64 // bytes resident, of files too
	anon uint64 // bytes resident of its own
}

// share is the processor time between two moments in per cent of one core.
func share(a, b usage) float64 { return 100 * float64(b.cpu-a.cpu) / float64(b.at.Sub(a.at)) }

// look reads what a process uses now. Processor time is by the scheduler's clock of its
// threads, in nanoseconds; a Go program ends none of them.
func look(pid int) usage {
	u := usage{at: time.Now()}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return u
	}
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if fields := strings.Fields(string(b)); err == nil && len(fields) > 0 {
			n, _ := strconv.ParseInt(fields[0], 10, 64) // the kernel writes numbers
			u.cpu += time.Duration(n)
		}
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		to := map[string]*uint64{"VmRSS": &u.rss, "RssAnon": &u.anon}[name]
		if fields := strings.Fields(rest); to != nil && len(fields) > 0 {
			*to, _ = strconv.ParseUint(fields[0], 10, 64) // the kernel writes numbers
			*to <<= 10
		}
	}
	return u
}

// machine names processor and load, which the figures depend on.
func machine() string {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(b), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	average := "?"
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		average = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	return model + ", load average " + average
}
