package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const keyBytes = 22

// workload is who produces: producers at a time, each waiting for its events to be
// durable before it goes on with the next.
type workload struct {
	name      string
	producers int
	batch     int // events of one call
}

func workloads() []workload {
	return []workload{{"1024x1", 1024, 1}, {"8x100", 8, 100}}
}

// store is one thing to measure.
type store struct {
	name string
	// acks says exactly what has happened when a producer is told.
	acks string
	// only is the workload that the store is measured with; empty is all.
	only string
	// alone replaces the workload where the store is best fed another way.
	alone *workload
	open  func(ctx context.Context, dir string, size int) (running, error)
}

func (s store) fits(w workload) bool { return s.only == "" || s.only == w.name }

// running is an open store.
type running struct {
	// producer makes what one producer calls: it returns once n new events are durable.
	producer func(i int) (func(ctx context.Context, n int) error, error)
	// count is the number of events that the store holds.
	count func(ctx context.Context) (int64, error)
	// syncs is how often the store waited for the disk so far; nil where it does not tell.
	syncs func() int64
	close func() error
}

func stores() []store {
	return []store{
		{name: "locallog", acks: locallogAcks, open: openLocallog},
		{name: "sqlite", acks: sqliteAcks, open: openSQLite, alone: &workload{"1x1000", 1, 1000}},
		{name: "sqlite-shared", acks: sqliteSharedAcks, open: openSQLite, only: "1024x1"},
		{name: "jetstream", acks: jetstreamAcks, open: openJetStream},
		{name: "jetstream-atomic", acks: jetstreamAtomicAcks, open: openJetStreamAtomic, only: "8x100"},
	}
}

// result is one turn, as a child prints it.
type result struct {
	Events  int64         `json:"events"`
	Elapsed time.Duration `json:"elapsed"`
	CPU     time.Duration `json:"cpu"` // user and system
	P50     time.Duration `json:"p50"` // from the call to the acknowledgement
	P99     time.Duration `json:"p99"`
	Syncs   int64         `json:"syncs"` // 0 where the store does not tell
}

func (r result) rate() float64     { return float64(r.Events) / r.Elapsed.Seconds() }
func (r result) cpuMicro() float64 { return float64(r.CPU.Nanoseconds()) / 1e3 / float64(r.Events) }

// child measures one store and prints the result.
func child(ctx context.Context, o *options) error {
	i := slices.IndexFunc(stores(), func(s store) bool { return s.name == o.measure })
	j := slices.IndexFunc(workloads(), func(w workload) bool { return w.name == o.workload })
	if i < 0 || j < 0 {
		return fmt.Errorf("there is no store %q or no workload %q", o.measure, o.workload)
	}
	s, w := stores()[i], workloads()[j]
	if s.alone != nil {
		w = *s.alone
	}
	run, err := s.open(ctx, o.dir, o.bytes)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	r, err := measure(ctx, run, w, o)
	if err = errors.Join(err, run.close()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func measure(ctx context.Context, run running, w workload, o *options) (result, error) {
	calls := make([]func(context.Context, int) error, w.producers)
	for i := range calls {
		var err error
		if calls[i], err = run.producer(i); err != nil {
			return result{}, err
		}
	}
	syncs := run.syncs
	if syncs == nil {
		syncs = func() int64 { return 0 }
	}
	warm, _, err := drive(ctx, calls, w.batch, o.warm)
	if err != nil {
		return result{}, err
	}
	before, cpu := syncs(), cpuTime()
	began := time.Now()
	n, waits, err := drive(ctx, calls, w.batch, o.time)
	if err != nil {
		return result{}, err
	}
	r := result{Events: n, Elapsed: time.Since(began), CPU: cpuTime() - cpu, Syncs: syncs() - before}
	slices.Sort(waits)
	r.P50 = time.Duration(waits[len(waits)/2]) * time.Microsecond
	r.P99 = time.Duration(waits[len(waits)*99/100]) * time.Microsecond
	// What was acknowledged is there: a store that skips work does not win.
	if have, err := run.count(ctx); err != nil || have != warm+n {
		return result{}, fmt.Errorf("the store holds %d events of %d acknowledged: %w", have, warm+n, errors.Join(err, errLost))
	}
	return r, nil
}

var errLost = errors.New("events are missing or doubled")

// drive lets the producers work for a while. It returns the events acknowledged and how
// long each call waited, in microseconds.
func drive(ctx context.Context, calls []func(context.Context, int) error, batch int, long time.Duration) (int64, []uint32, error) {
	end := time.Now().Add(long)
	waits := make([][]uint32, len(calls))
	errs := make([]error, len(calls))
	var wg sync.WaitGroup
	for i, call := range calls {
		wg.Go(func() {
			for at := time.Now(); at.Before(end); {
				if errs[i] = call(ctx, batch); errs[i] != nil {
					return
				}
				now := time.Now()
				waits[i] = append(waits[i], uint32(min(now.Sub(at).Microseconds(), math.MaxUint32)))
				at = now
			}
		})
	}
	wg.Wait()
	all := slices.Concat(waits...)
	if err := errors.Join(errs...); err != nil {
		return 0, nil, err
	}
	if len(all) == 0 {
		return 0, nil, errors.New("nothing was acknowledged")
	}
	return int64(len(all) * batch), all, nil
}

// cpuTime is what this process has used, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only for a wrong argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
