package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/test/running"
)

// bucket is the name of the buckets that are made.
const bucket = "segue"

// starts start an engine and give what a client must know of it.
func starts() map[string]func(h *host) map[string]string {
	return map[string]func(h *host) map[string]string{
		"kafka": func(h *host) map[string]string {
			return map[string]string{"kafka_seeds": strings.Join(testengine.Kafka(h).Seeds, ",")}
		},
		"cassandra": func(h *host) map[string]string {
			return map[string]string{"cassandra_host": testengine.Cassandra(h).Host}
		},
		"redis": func(h *host) map[string]string { return map[string]string{"redis_addr": testengine.Redis(h).Addr} },
		"postgres": func(h *host) map[string]string {
			return map[string]string{"postgres_url": testengine.DurablePostgreSQL(h).Database(h)}
		},
		"s3":  startS3,
		"gcs": startGCS,
	}
}

func startS3(h *host) map[string]string {
	g := testengine.S3(h)
	name := bucket
	_, err := s3.New(s3.Options{
		BaseEndpoint: &g.Endpoint, Region: g.Region, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(g.Key, g.Secret, ""),
	}).CreateBucket(h.ctx, &s3.CreateBucketInput{Bucket: &name})
	if err != nil {
		h.Fatal(err)
	}
	return map[string]string{"s3_endpoint": g.Endpoint, "s3_region": g.Region, "s3_key": g.Key, "s3_secret": g.Secret, "s3_bucket": bucket}
}

func startGCS(h *host) map[string]string {
	g := testengine.GCS(h)
	req, err := http.NewRequestWithContext(h.ctx, http.MethodPost, g.Endpoint+"/storage/v1/b?project=segue", strings.NewReader(`{"name": "`+bucket+`"}`))
	if err != nil {
		h.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		h.Fatal("make bucket: ", res.Status, err)
	}
	return map[string]string{"gcs_endpoint": g.Endpoint, "gcs_bucket": bucket}
}

// run runs the engines until ctx ends or one of them does.
func run(ctx context.Context, f folder, programs string, only []string) (err error) {
	lock, err := f.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := errors.Join(f.clear(), os.Mkdir(f.Path("data"), running.Passable)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.clear()) }()
	for name, value := range map[string]string{
		testengine.Folder: programs, testengine.Require: strings.Join(only, ","), "TMPDIR": f.Path("data"),
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	r := &engines{addresses: map[string]string{}}
	defer r.end()
	if err := r.start(ctx, f.Path("data"), only); err != nil {
		return err
	}
	if err := f.tell(r.addresses); err != nil {
		return err
	}
	return watch(ctx, r.addresses)
}

// engines are those that run and their addresses.
type engines struct {
	hosts     []*host
	addresses map[string]string
}

// start starts them side by side.
func (r *engines) start(ctx context.Context, data string, only []string) error {
	var mu sync.Mutex
	var all sync.WaitGroup
	var errs []error
	for _, name := range only {
		begin, ok := starts()[strings.TrimSpace(name)]
		if !ok {
			return fmt.Errorf("%q is none of %s", name, strings.Join(testengine.Names(), ", "))
		}
		h := &host{ctx: ctx, name: name, data: data}
		r.hosts = append(r.hosts, h)
		all.Go(func() {
			var told map[string]string
			err := h.do(func() { told = begin(h) })
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			maps.Copy(r.addresses, told)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (r *engines) end() {
	var all sync.WaitGroup
	for _, h := range r.hosts {
		all.Go(h.end)
	}
	all.Wait()
}

const (
	lookEvery = 2 * time.Second
	// misses in a row mean that an engine has ended, rather than that it is busy.
	misses = 5
)

// watch returns when an engine takes no connections any more, or ctx ends, which is no error.
func watch(ctx context.Context, addresses map[string]string) error {
	missed := map[string]int{}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for name, text := range addresses {
			at := hostPort(text)
			if at == "" {
				continue
			}
			dialer := net.Dialer{Timeout: lookEvery}
			c, err := dialer.DialContext(ctx, "tcp", at)
			if err == nil {
				err = c.Close()
			}
			if err == nil || ctx.Err() != nil {
				missed[name] = 0
				continue
			}
			if missed[name]++; missed[name] == misses {
				return fmt.Errorf("%s %s is gone: %w", name, text, err)
			}
		}
	}
}

// hostPort is where a value says to connect to; empty where it says no such thing.
func hostPort(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Host
	}
	if _, _, err := net.SplitHostPort(text); err == nil {
		return text
	}
	return ""
}
