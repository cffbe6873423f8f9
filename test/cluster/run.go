package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// Running are the processes of a plan.
type Running struct {
	// URL is the public one.
	URL       string
	Processes []*Child

	balancer *Balancer
}

// Doors are where a process listens, as its ready file tells.
type Doors struct{ HTTP, QUIC, RPC, Ops string }

// readyLimit bounds the start of one process on a busy machine.
const readyLimit = 2 * time.Minute

// Run brings the databases forward and starts the processes of a plan, with their logs and
// ready files in dir. It returns when all serve; where one does not, none is left.
func Run(ctx context.Context, segue, dir string, p *Plan) (r *Running, err error) {
	migrate := exec.CommandContext(ctx, segue, p.Migrate.Args...)
	migrate.Env = append(os.Environ(), p.Migrate.Env...)
	if out, err := migrate.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("migrate: %w\n%s", err, out)
	}
	r = &Running{URL: "http://" + p.Public}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Stop())
		}
	}()
	ready := func(i int) string { return filepath.Join(dir, p.Processes[i].Name()+".ready") }
	for i, one := range p.Processes {
		c, err := start(one.Name(), filepath.Join(dir, one.Name()+".log"), one.Env, segue, append(one.Args, "-ready.file="+ready(i))...)
		if err != nil {
			return r, err
		}
		r.Processes = append(r.Processes, c)
	}
	for i, c := range r.Processes {
		err := await(ctx, readyLimit, c, func() error {
			b, err := os.ReadFile(ready(i))
			if err != nil {
				return err
			}
			return json.Unmarshal(b, &c.Doors)
		})
		if err != nil {
			return r, err
		}
	}
	r.balancer, err = Balance(ctx, p)
	return r, err
}

// Wait returns when ctx ends, which is no error, or one of the processes does.
func (r *Running) Wait(ctx context.Context, others ...*Child) error {
	ended := make(chan *Child)
	for _, c := range append(slices.Clone(r.Processes), others...) {
		go func() {
			select {
			case <-c.Ended():
			case <-ctx.Done():
				return
			}
			select {
			case ended <- c:
			case <-ctx.Done():
			}
		}()
	}
	select {
	case c := <-ended:
		return c.explain(errors.New("has ended"))
	case <-ctx.Done():
		return nil
	}
}

// Stop ends the processes, those that others call last.
func (r *Running) Stop() (err error) {
	for _, c := range slices.Backward(r.Processes) {
		err = errors.Join(err, c.Stop(stopLimit))
	}
	if r.balancer != nil {
		err = errors.Join(err, r.balancer.Close())
	}
	return err
}
