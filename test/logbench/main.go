// Command logbench measures how many durable events a second Segue's embedded event log
// takes, beside SQLite and an embedded NATS JetStream server in the same run, on the same
// disk, at the same durability: an event counts once its producer was told that it is on
// the disk. What it prints is Markdown. It writes to a folder of its own on the disk that
// -dir is on, and removes it.
//
// Each measurement is a process of its own, so that the CPU it used is that of one store
// with its producers. Stores take turns, so that a slow moment of the disk hits them all.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// options are what can be asked for.
type options struct {
	dir      string
	rounds   int
	time     time.Duration
	warm     time.Duration
	bytes    int
	only     string
	measure  string // store of a child; empty for people
	workload string // of a child
}

func (o *options) register(fs *flag.FlagSet) {
	fs.StringVar(&o.dir, "dir", ".", "folder on the disk to measure")
	fs.IntVar(&o.rounds, "rounds", 5, "how often every store gets its turn; figures are medians")
	fs.DurationVar(&o.time, "time", 3*time.Second, "how long a turn is measured")
	fs.DurationVar(&o.warm, "warm", 500*time.Millisecond, "how long a turn runs before it is measured")
	fs.IntVar(&o.bytes, "bytes", 200, "size of an event: a key of 22 bytes and the rest its value")
	fs.StringVar(&o.only, "only", "", "measure only the cases whose name, such as locallog/8x100, matches this regular expression")
	fs.StringVar(&o.measure, "measure", "", "store that a child measures; empty for people")
	fs.StringVar(&o.workload, "workload", "", "what a child does to it; empty for people")
}

func main() {
	var o options
	fs := flag.NewFlagSet("logbench", flag.ExitOnError)
	o.register(fs)
	_ = fs.Parse(os.Args[1:]) // ExitOnError
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, &o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "logbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	if o.bytes < keyBytes || o.rounds < 1 || o.time <= 0 {
		return fmt.Errorf("an event is at least %d bytes, and there is at least one round of some length", keyBytes)
	}
	if o.measure != "" {
		return child(ctx, o)
	}
	return bench(ctx, o)
}

// bench gives every case its turn, round by round, and prints.
func bench(ctx context.Context, o *options) (err error) {
	work, err := os.MkdirTemp(o.dir, ".logbench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	only, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	var turns []*turn
	for _, w := range workloads() {
		for _, s := range stores() {
			if t := (&turn{store: s, load: w}); s.fits(w) && only.MatchString(t.name()) {
				turns = append(turns, t)
			}
		}
	}
	if len(turns) == 0 {
		return fmt.Errorf("no case is called %q", o.only)
	}
	var floor []time.Duration
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
		one, err := syncCost(work, o.bytes)
		if err != nil {
			return err
		}
		floor = append(floor, one)
		for i := range turns {
			t := turns[(i+round)%len(turns)] // nobody always follows the same neighbour
			r, err := spawn(ctx, o, work, t)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name(), err)
			}
			t.results = append(t.results, r)
		}
	}
	slices.Sort(floor)
	return report(os.Stdout, o, floor[len(floor)/2], turns)
}

// spawn measures one turn in a process and a folder of its own.
func spawn(ctx context.Context, o *options, work string, t *turn) (r result, err error) {
	dir, err := os.MkdirTemp(work, "turn-")
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	cmd := exec.CommandContext(ctx, self, "-dir="+dir, "-measure="+t.store.name, "-workload="+t.load.name,
		"-time="+o.time.String(), "-warm="+o.warm.String(), fmt.Sprintf("-bytes=%d", o.bytes))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return result{}, err
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return result{}, fmt.Errorf("read what the child measured: %w", err)
	}
	return r, nil
}

// syncCost is the median time of one event's write and fdatasync at the end of a file:
// what every acknowledgement costs a store that groups nothing.
func syncCost(dir string, size int) (_ time.Duration, err error) {
	f, err := os.CreateTemp(dir, "floor-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	took := make([]time.Duration, 200)
	for i := range took {
		began := time.Now()
		if _, err := f.Write(make([]byte, size)); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, os.NewSyscallError("fdatasync", err)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
