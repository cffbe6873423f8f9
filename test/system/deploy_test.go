//go:build system

package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/twmb/franz-go/pkg/kfake"

	clusters "github.com/segue-music/segue/test/cluster"
)

const adminPassword = "correct horse battery staple"

// deployment is a running Segue and a client of it. Scenarios share one, each with a T of
// its own.
type deployment struct {
	*testing.T
	dir   string
	URL   string
	QUIC  string
	procs []*process
	env   []string // of seguectl
	// bucket holds the objects of a cluster.
	bucket *clusters.Bucket
	// kafka has its topics, whose names begin with topics, where the engines are real.
	kafka, topics string
	// called is what was called of processes that have ended since.
	called calls
	// without are targets that do not run, or that not all know who run.
	without map[string]bool
	// made are the sounds that scenarios share.
	made map[string]listed
}

// process is one segue.
type process struct {
	program string // empty is the built one
	cmd     *exec.Cmd
	env     []string
	args    []string
	ready   string
	log     string
	addr    struct {
		HTTP, QUIC, RPC, Ops string
		PID                  int
	}
}

func program(t *testing.T, name string) string {
	t.Helper()
	p, err := filepath.Abs("../../bin/" + name)
	if err == nil {
		_, err = os.Stat(p)
	}
	if err != nil {
		t.Fatalf("%v: run make build first", err)
	}
	return p
}

// eachShape runs scenarios in one process and in one process per service.
func eachShape(t *testing.T, run func(*deployment), more ...string) {
	t.Run("one_process", func(t *testing.T) { run(single(t, more...)) })
	t.Run("process_per_service", func(t *testing.T) { run(cluster(t, more...)) })
}

func prepare(t *testing.T) *deployment {
	d := &deployment{T: t, dir: t.TempDir(), called: calls{}, made: map[string]listed{}}
	if err := os.WriteFile(d.file("password"), []byte(adminPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.file("watched"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.env = append(os.Environ(), "SEGUECTL_CONFIG="+d.file("ctl"))
	return d
}

func (d *deployment) file(name string) string { return filepath.Join(d.dir, name) }

// scenario runs one scenario on a deployment that others use too.
func (d *deployment) scenario(name string, run func(*deployment)) {
	d.Run(name, func(t *testing.T) {
		own := *d
		own.T = t
		run(&own)
	})
}

// single starts one process on embedded stores.
func single(t *testing.T, more ...string) *deployment {
	d := prepare(t)
	p := d.start(nil, append([]string{
		"-data=" + d.file("data"), fmt.Sprintf("-http.listen=127.0.0.1:%d", freePorts(t, 1)[0]), "-quic.listen=127.0.0.1:0",
		"-user.admin-password.file=" + d.file("password"),
	}, d.settings(more)...)...)
	d.await(p)
	d.URL, d.QUIC = p.addr.HTTP, p.addr.QUIC
	// A later start is at the same address: it is part of the issuer's name.
	p.args = append(p.args, "-http.listen="+strings.TrimPrefix(strings.TrimPrefix(d.URL, "http://"), "https://"))
	return d
}

// settings fills in what is known only once the folder is there.
func (d *deployment) settings(more []string) []string {
	var out []string
	for _, s := range more {
		out = append(out, strings.ReplaceAll(s, "{dir}", d.dir))
	}
	return out
}

var targets = clusters.Targets() //nolint:gochecknoglobals // a constant

// cluster starts one process per service: on the real engines where there are some, two of
// those that may not be missed, and otherwise on stand-ins in this test.
func cluster(t *testing.T, more ...string) *deployment {
	if enginesFolder == "" {
		return standIns(t, more...)
	}
	d := prepare(t)
	plan := d.plan(func(o *clusters.Options) { o.More = append(o.More, d.settings(more)...) })
	d.migrate(program(t, "segue"), plan.Migrate)
	for _, p := range plan.Processes {
		d.start(p.Env, p.Args...)
	}
	d.awaitAll()
	return d
}

// plan is a cluster's on the engines, behind a balancer; set changes its options.
func (d *deployment) plan(set func(*clusters.Options)) *clusters.Plan {
	d.Helper()
	e := ownEngines(d)
	o := clusters.Options{
		Engines: e, Root: "../..", Dir: d.dir, Name: own("seg", d.T), Bucket: own("segue", d.T), Password: d.file("password"),
		More: []string{"-obs.log-format=text"},
	}
	set(&o)
	d.bucket, d.kafka, d.topics = e.Bucket(o.Bucket), e.Kafka, o.Name+"-"
	if err := d.bucket.Make(d.Context()); err != nil {
		d.Fatal(err)
	}
	plan, err := clusters.NewPlan(d.Context(), o)
	if err != nil {
		d.Fatal(err)
	}
	d.URL = "http://" + plan.Public
	front, err := clusters.Balance(d.Context(), plan)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { _ = front.Close() })
	return plan
}

// migrate runs what brings the databases forward.
func (d *deployment) migrate(segue string, p clusters.Process) {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, segue, p.Args...)
	cmd.Env = append(os.Environ(), p.Env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		d.Fatalf("migrate: %v\n%s", err, out)
	}
}

// standIns starts one process per service on a broker and a bucket in this test, for a
// machine without the engines.
func standIns(t *testing.T, more ...string) *deployment {
	d := prepare(t)
	broker, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	s3 := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	t.Cleanup(s3.Close)
	const name = "segue"
	d.bucket = (&clusters.Engines{S3: s3.URL, Region: "us-east-1", Key: "test", Secret: "test"}).Bucket(name)
	if err := d.bucket.Make(d.Context()); err != nil {
		t.Fatal(err)
	}

	ports := freePorts(t, len(targets)+1)
	d.URL = fmt.Sprintf("http://127.0.0.1:%d", ports[len(targets)])
	var peers []string // one list for all, as in deploy/config/cluster.yaml
	for i, name := range targets {
		peers = append(peers, fmt.Sprintf("%s=https://127.0.0.1:%d", name, ports[i]))
	}
	d.certificates()
	for i, target := range targets {
		d.start([]string{"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"}, append([]string{
			"-target=" + target, "-data=" + d.file(target), "-secrets.dir=" + d.file("secrets"),
			fmt.Sprintf("-rpc.listen=127.0.0.1:%d", ports[i]), "-rpc.peers=" + strings.Join(peers, ","),
			"-rpc.cert.file=" + d.file("certs/"+target+".pem"), "-rpc.key.file=" + d.file("certs/"+target+"-key.pem"), "-rpc.ca.file=" + d.file("certs/ca.pem"),
			"-event.kafka=" + strings.Join(broker.ListenAddrs(), ","),
			"-blob.url=s3://" + name + "?region=us-east-1&use_path_style=true&disable_https=true&endpoint=" + s3.URL,
			"-public-url=" + d.URL, "-http.listen=" + strings.TrimPrefix(d.URL, "http://"),
			"-quic.listen=127.0.0.1:0", "-user.admin-password.file=" + d.file("password"),
		}, d.settings(more)...)...)
	}
	d.awaitAll()
	return d
}

// certificates makes those by which the processes know each other.
func (d *deployment) certificates() {
	d.Helper()
	out, err := exec.Command("../../scripts/certs.sh", append([]string{d.file("certs")}, targets...)...).CombinedOutput()
	if err != nil {
		d.Fatalf("make certificates: %v: %s", err, out)
	}
}

// awaitAll waits for every process.
func (d *deployment) awaitAll() {
	d.Helper()
	for _, p := range d.procs {
		d.await(p)
		if p.addr.QUIC != "" {
			d.QUIC = p.addr.QUIC
		}
	}
}

// all are the processes that run a target.
func (d *deployment) all(target string) (out []*process) {
	d.Helper()
	for _, p := range d.procs {
		if len(d.procs) == 1 || p.args[0] == "-target="+target {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		d.Fatalf("no process runs %s", target)
	}
	return out
}

// process is the first that runs a target.
func (d *deployment) process(target string) *process {
	d.Helper()
	return d.all(target)[0]
}

// freePorts finds ports that were free a moment ago.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	list, err := clusters.FreePorts(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, at := range list {
		_, port, err := net.SplitHostPort(at)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

// start begins a process; it is stopped, and its log shown where the test failed, at the end.
func (d *deployment) start(env []string, args ...string) *process {
	d.Helper()
	return d.startOther("", env, args...)
}

// startOther is start with another program than the built one.
func (d *deployment) startOther(other string, env []string, args ...string) *process {
	d.Helper()
	n := len(d.procs)
	p := &process{program: other, env: env, args: args, ready: d.file(fmt.Sprintf("ready-%d", n)), log: d.file(fmt.Sprintf("log-%d", n))}
	d.again(p)
	d.procs = append(d.procs, p)
	d.Cleanup(func() {
		d.stop(p)
		if d.Failed() {
			b, _ := os.ReadFile(p.log)
			d.Logf("%v\n%s", args[:1], b[max(0, len(b)-6000):])
		}
	})
	return p
}

// again starts a process that does not run; its log goes on.
func (d *deployment) again(p *process) {
	d.Helper()
	_ = os.Remove(p.ready)
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.Fatal(err)
	}
	defer log.Close() // the process has its own
	segue := p.program
	if segue == "" {
		segue = program(d.T, "segue")
	}
	p.cmd = exec.Command(segue, append(p.args, "-ready.file="+p.ready)...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		d.Fatal(err)
	}
}

// stop ends a process as an operator does, and expects that it ends well.
func (d *deployment) stop(p *process) {
	d.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			d.Errorf("segue %v ended with %v", p.args[:1], err)
		}
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it shows where it hangs
		d.Errorf("segue %v did not stop: %v", p.args[:1], <-done)
	}
}

// await waits for the ready file of a process.
func (d *deployment) await(p *process) {
	d.Helper()
	d.until(60*time.Second, "the ready file", func() error {
		if err := p.cmd.Process.Signal(syscall.Signal(0)); err != nil {
			return fmt.Errorf("segue has ended: %w", err)
		}
		b, err := os.ReadFile(p.ready)
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return json.Unmarshal(b, &p.addr)
	})
}

// until waits for a condition.
func (d *deployment) until(limit time.Duration, what string, try func() error) {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			d.Fatalf("%s did not come within %s: %v", what, limit, err)
		}
	}
}

// ctl runs seguectl and returns what it printed.
func (d *deployment) ctl(stdin string, args ...string) (stdout, stderr string, err error) {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(d.T, "seguectl"), args...)
	cmd.Env = d.env
	var out, diag strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &diag
	err = cmd.Run()
	return out.String(), diag.String(), err
}

// must is ctl for what has to work.
func (d *deployment) must(args ...string) string {
	d.Helper()
	out, diag, err := d.ctl("", args...)
	if err != nil {
		d.Fatalf("seguectl %s: %v\n%s%s", strings.Join(args, " "), err, out, diag)
	}
	return out
}

func (d *deployment) login() {
	d.Helper()
	if out, diag, err := d.ctl(adminPassword, "login", "--server", d.URL, "--user", "admin", "--password-stdin"); err != nil {
		d.Fatalf("login: %v\n%s%s", err, out, diag)
	}
}

// get reads a page without signing in.
func (d *deployment) get(path string) (int, http.Header, []byte) {
	d.Helper()
	res, err := http.Get(d.URL + path)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	var b strings.Builder
	buf := make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return res.StatusCode, res.Header, []byte(b.String())
}
