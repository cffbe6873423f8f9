package cluster

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Release is a built segue of another release than the plan's, with the settings of a
// cluster as that release shipped them.
type Release struct {
	Program string

	config         string
	flags, targets map[string]bool
}

// OpenRelease asks the program of a folder that scripts/released.sh makes what it knows.
func OpenRelease(ctx context.Context, dir string) (*Release, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open release: %w", err)
	}
	r := &Release{
		Program: filepath.Join(dir, "segue"), config: filepath.Join(dir, "cluster.yaml"), flags: map[string]bool{}, targets: map[string]bool{},
	}
	if _, err := os.Stat(r.config); err != nil {
		return nil, fmt.Errorf("open release: %w", err)
	}
	help, err := exec.CommandContext(ctx, r.Program, "-help").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ask %s for help: %w", r.Program, err)
	}
	lines := bufio.NewScanner(bytes.NewReader(help))
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "  -"); ok {
			name, _, _ = strings.Cut(name, " ")
			r.flags[name] = true
		}
	}
	for _, target := range Targets() {
		// It refuses a target that it does not know, and starts none.
		r.targets[target] = exec.CommandContext(ctx, r.Program, "-config.check", "-config.file="+r.config, "-target="+target).Run() == nil
	}
	if !r.flags["rpc.peers"] || !r.targets["gateway"] {
		return nil, fmt.Errorf("open release: %s is no segue, or tells its settings in another way", r.Program)
	}
	return r, nil
}

// Runs says whether the release has a target.
func (r *Release) Runs(target string) bool { return r.targets[target] }

// Fit is a process of the plan as the release would be told to run it: with its own file
// of settings, and without the settings and the peers that it does not know. What is left
// out is returned as well, settings by their names and peers as target=URL.
func (r *Release) Fit(p Process) (_ Process, left []string) {
	var args []string
	for _, arg := range p.Args {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		switch {
		case !r.flags[name]:
			left = append(left, name)
			continue
		case name == "config.file":
			value = r.config
		case name == "rpc.peers":
			var without []string
			value, without = r.peers(value)
			left = append(left, without...)
		}
		args = append(args, "-"+name+"="+value)
	}
	p.Args = args
	return p, left
}

func (r *Release) peers(list string) (known string, left []string) {
	var keep []string
	for peer := range strings.SplitSeq(list, ",") {
		if target, _, _ := strings.Cut(peer, "="); r.targets[target] {
			keep = append(keep, peer)
		} else {
			left = append(left, peer)
		}
	}
	return strings.Join(keep, ","), left
}
