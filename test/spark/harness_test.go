//go:build spark

package spark

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/kafkalog"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/cloudblob"
	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/services/warehouse/lake"
)

const bucket = "plays"

// world is a Kafka, a bucket, and the warehouse that writes the one into the other.
type world struct {
	*testing.T
	kafka   *testengine.Broker
	gateway testengine.Gateway
	log     event.Log
	blobs   blob.Store // as everybody who knows Segue's keys sees them
	raw     blob.Store // with Spark's own
	svc     *warehouse.Service
	stopped func()
}

func setUp(t *testing.T) *world {
	w := &world{T: t, kafka: testengine.Kafka(t), gateway: testengine.S3(t)}
	t.Setenv("AWS_ACCESS_KEY_ID", w.gateway.Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", w.gateway.Secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_REGION", w.gateway.Region)
	name := bucket
	_, err := s3.New(s3.Options{
		BaseEndpoint: &w.gateway.Endpoint, Region: w.gateway.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(w.gateway.Key, w.gateway.Secret, ""),
	}).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	if err != nil {
		t.Fatal(err)
	}
	query := url.Values{"endpoint": {w.gateway.Endpoint}, "region": {w.gateway.Region}, "use_path_style": {"true"}}
	at := "s3://" + bucket + "?" + query.Encode()
	blobs, err := cloudblob.Open(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := cloudblob.OpenInbox(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	log, err := kafkalog.Open(t.Context(), kafkalog.Options{Client: []kgo.Opt{kgo.SeedBrokers(w.kafka.Seeds...)}})
	if err != nil {
		t.Fatal(err)
	}
	w.blobs, w.raw, w.log = blobs, raw, log
	w.Cleanup(func() {
		if err := errors.Join(blobs.Close(), raw.Close(), log.Close()); err != nil {
			t.Error(err)
		}
	})
	w.warehouse()
	return w
}

// noKeys are those of listeners of whom nothing personal is known.
type noKeys struct{}

func (noKeys) Key(context.Context, string) (string, [32]byte, error) {
	return "", [32]byte{}, event.ErrShredded
}

// warehouse starts the writer of the lake.
func (w *world) warehouse() {
	store, err := lake.Open(w.Context(), w.blobs, lake.Options{})
	if err != nil {
		w.Fatal(err)
	}
	w.svc, err = warehouse.New(warehouse.Deps{
		Config: warehouse.Config{FlushEvery: 2 * time.Second, FileRows: 100, FileBytes: 1 << 20},
		Store:  store, Events: w.log, PersonalKeys: noKeys{}, Now: time.Now, Log: slog.New(slog.NewTextHandler(w.Output(), nil)),
	})
	if err != nil {
		w.Fatal(err)
	}
	ctx, end := context.WithCancel(w.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.svc.Run(ctx) }()
	w.stopped = sync.OnceFunc(func() {
		end()
		if err := <-ended; err != nil {
			w.Errorf("the warehouse ended: %v", err)
		}
	})
	w.Cleanup(w.stopped)
}

// lakeRows are all rows of a topic, as a reader finds them who opens the lake anew.
func (w *world) lakeRows(topic string) []warehouse.Row {
	w.Helper()
	for {
		if _, err := w.svc.FlushLake(w.Context(), nil); err != nil {
			w.Fatal(err)
		}
		left, err := event.Lag(w.Context(), w.log, warehouse.Group, topic)
		if err != nil {
			w.Fatal(err)
		}
		if left == 0 {
			break
		}
		w.pause()
	}
	store, err := lake.Open(w.Context(), w.blobs, lake.Options{})
	if err != nil {
		w.Fatal(err)
	}
	files, err := store.Files(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	var rows []warehouse.Row
	for _, f := range files {
		if f.Topic != topic {
			continue
		}
		for r, err := range store.Rows(w.Context(), f, warehouse.Hint{}) {
			if err != nil {
				w.Fatal(err)
			}
			rows = append(rows, r)
		}
	}
	return rows
}

func (w *world) pause() {
	w.Helper()
	select {
	case <-w.Context().Done():
		w.Fatal(w.Context().Err())
	case <-time.After(200 * time.Millisecond):
	}
}

// until waits until done says so.
func (w *world) until(limit time.Duration, what string, j *job, done func() bool) {
	w.Helper()
	for deadline := time.Now().Add(limit); !done(); w.pause() {
		if j != nil && j.over() {
			w.Fatalf("the job ended before %s: %v\n%s", what, j.err, j.tail())
		}
		if time.Now().After(deadline) {
			w.Fatalf("not within %v: %s\n%s", limit, what, j.tail())
		}
	}
}

// job is a running program of jobs/.
type job struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error

	mu  sync.Mutex
	out bytes.Buffer
}

func (j *job) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.Write(b)
}

func (j *job) tail() string {
	if j == nil {
		return ""
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.out.String()
	return s[max(0, len(s)-8000):]
}

func (j *job) over() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// end signals the job and the JVM that it runs on, and waits for it.
func (j *job) end(sig syscall.Signal) {
	_ = syscall.Kill(-j.cmd.Process.Pid, sig) // it may have ended by itself
	<-j.done
}

// start runs a module of jobs/segue_jobs in a process group of its own.
func (w *world) start(module string, args ...string) *job {
	w.Helper()
	cache := os.Getenv("SEGUE_TEST_SPARK")
	if cache == "" {
		w.Fatal("SEGUE_TEST_SPARK is not set; make test-spark sets it")
	}
	root, err := filepath.Abs("../../jobs")
	if err != nil {
		w.Fatal(err)
	}
	j := &job{done: make(chan struct{})}
	j.cmd = exec.Command(filepath.Join(cache, "venv", "bin", "python"), append([]string{"-m", "segue_jobs." + module}, args...)...) //nolint:noctx // ends with the test
	j.cmd.Dir, j.cmd.Stdout, j.cmd.Stderr = w.TempDir(), j, j
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	j.cmd.Env = append(os.Environ(), "PYTHONPATH="+root, "PYTHONDONTWRITEBYTECODE=1", "SEGUE_SPARK_MASTER=local[2]",
		"SEGUE_SPARK_JARS="+filepath.Join(cache, "jars"))
	if err := j.cmd.Start(); err != nil {
		w.Fatal(err)
	}
	go func() {
		j.err = j.cmd.Wait()
		close(j.done)
	}()
	w.Cleanup(func() { j.end(syscall.SIGKILL) })
	return j
}

// batch runs a module to its end.
func (w *world) batch(module string, args ...string) {
	w.Helper()
	j := w.start(module, args...)
	w.until(10*time.Minute, module+" ends", nil, j.over)
	if j.err != nil {
		w.Fatalf("%s: %v\n%s", module, j.err, j.tail())
	}
}

// object reads one object.
func (w *world) object(key string) []byte {
	w.Helper()
	o, err := w.raw.Open(w.Context(), key)
	if err != nil {
		w.Fatalf("open %s: %v", key, err)
	}
	defer o.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(o); err != nil {
		w.Fatalf("read %s: %v", key, err)
	}
	return b.Bytes()
}

// keys are those of objects below a prefix.
func (w *world) keys(prefix string) (keys []string) {
	w.Helper()
	for o, err := range w.raw.List(w.Context(), prefix) {
		if err != nil {
			w.Fatal(err)
		}
		if !strings.HasSuffix(o.Key, "/") { // a folder
			keys = append(keys, o.Key)
		}
	}
	return keys
}
