// Package cluster starts Segue as one process per service on engines that run: what `make
// cluster` leaves running, and what the system tests try their scenarios on.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/segue-music/segue/test/proc"
)

// Engines are the foreign servers of a cluster: their addresses as test/engines tells them.
type Engines struct {
	Kafka     string `json:"kafka_seeds"`
	Cassandra string `json:"cassandra_host"`
	Redis     string `json:"redis_addr"`
	Postgres  string `json:"postgres_url"`
	S3        string `json:"s3_endpoint"`
	Region    string `json:"s3_region"`
	Key       string `json:"s3_key"`
	Secret    string `json:"s3_secret"`
}

// Needed are the engines that a cluster stands on, as test/engines spells them.
const Needed = "cassandra,kafka,postgres,redis,s3"

// enginesLimit bounds their start on a busy machine.
const enginesLimit = 4 * time.Minute

// StartEngines runs the built test/engines, with the engines of a folder that
// scripts/engines.sh fills, and returns when all take connections. Their data are in dir,
// which goes with them.
func StartEngines(ctx context.Context, program, engines, dir string) (*Engines, *Child, error) {
	// What one that was killed has told is not true any more.
	told := filepath.Join(dir, "engines.sh")
	if err := os.Remove(told); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("start engines: %w", err)
	}
	c, err := start("engines", dir+".log", nil, program, "run", "-dir="+dir, "-programs="+engines, "-only="+Needed)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: run make build/engines first", err)
	}
	var e Engines
	err = await(ctx, enginesLimit, c, func() error {
		if _, err := os.Stat(told); err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, "engines.json"))
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &e)
	})
	if err != nil {
		return nil, nil, errors.Join(err, c.Stop(stopLimit))
	}
	return &e, c, nil
}

// stopLimit is how long a process may take to end.
const stopLimit = 30 * time.Second

// await waits until try has no error, or the child has ended.
func await(ctx context.Context, limit time.Duration, c *Child, try func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.ended:
			cancel(fmt.Errorf("%s has ended", c.Name))
		case <-ctx.Done():
		}
	}()
	if err := proc.Until(ctx, limit, try); err != nil {
		return c.explain(err)
	}
	return nil
}
