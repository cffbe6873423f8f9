package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
)

// Targets are the services, in the order in which they start.
func Targets() []string {
	return []string{"user", "metadata", "playback", "upload", "warehouse", "charts", "collect", "edge", "gateway"}
}

// Instances is how many processes run a target: two of those whose requests a fault of one
// of them may not end.
func Instances(target string) int {
	if target == "gateway" || target == "playback" || target == "metadata" {
		return 2
	}
	return 1
}

// Options of a cluster.
type Options struct {
	Engines *Engines
	// Root is the repository, Dir an empty folder for what the processes keep.
	Root, Dir string
	// Name is what the cluster's keyspaces and topics begin with: lower-case letters and
	// digits.
	Name string
	// Bucket is for the objects, and is there; Inbox is one whose music is taken in, or empty.
	Bucket, Inbox string
	// Password is the file with the first password of admin.
	Password string
	// Single has one instance of each target, also of those that may have two.
	Single bool
	// More are settings of every process, stronger than the cluster's own.
	More []string
}

// Plan is what to run: Migrate first, and then the processes, in their order.
type Plan struct {
	// Public is where the balancer has to listen, before the gateways at Gateways.
	Public    string
	Gateways  []string
	Migrate   Process
	Processes []Process
}

// Process is one to run.
type Process struct {
	Target string
	Number int      // of its instances, from 0
	Args   []string // the first is its target
	Env    []string
}

// Name is the target's, with the number where there are several.
func (p Process) Name() string {
	if Instances(p.Target) == 1 {
		return p.Target
	}
	return fmt.Sprintf("%s-%d", p.Target, p.Number)
}

// NewPlan makes the certificates and finds ports. The settings are those of
// deploy/config/cluster.yaml, except where things are and that each engine is one node.
func NewPlan(ctx context.Context, o Options) (*Plan, error) {
	list := []Process{}
	for _, target := range Targets() {
		for n := range Instances(target) {
			if n == 0 || !o.Single {
				list = append(list, Process{Target: target, Number: n})
			}
		}
	}
	ports, err := FreePorts(ctx, len(list)+Instances("gateway")+1)
	if err != nil {
		return nil, fmt.Errorf("find ports: %w", err)
	}
	certs := filepath.Join(o.Dir, "certs")
	made := exec.CommandContext(ctx, filepath.Join(o.Root, "scripts/certs.sh"), append([]string{certs}, Targets()...)...)
	if out, err := made.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make certificates: %w: %s", err, out)
	}
	doors := ports[len(list):]
	p := &Plan{Public: doors[0]}
	var peers []string // one list for all, as in the file
	for i := range list {
		peers = append(peers, list[i].Target+"=https://"+ports[i])
	}
	env := []string{"AWS_ACCESS_KEY_ID=" + o.Engines.Key, "AWS_SECRET_ACCESS_KEY=" + o.Engines.Secret}
	shared := append([]string{"-config.file=" + filepath.Join(o.Root, "deploy/config/cluster.yaml")}, o.engines()...)
	p.Migrate = Process{Target: "migrate", Args: append([]string{"-target=migrate"}, shared...), Env: env}
	for i, one := range list {
		one.Env = env
		one.Args = append(append([]string{"-target=" + one.Target}, shared...),
			"-data="+filepath.Join(o.Dir, one.Name()), "-secrets.dir="+filepath.Join(o.Dir, "secrets"), "-user.admin-password.file="+o.Password,
			"-rpc.listen="+ports[i], "-rpc.peers="+strings.Join(peers, ","),
			"-rpc.cert.file="+filepath.Join(certs, one.Target+".pem"), "-rpc.key.file="+filepath.Join(certs, one.Target+"-key.pem"),
			"-rpc.ca.file="+filepath.Join(certs, "ca.pem"),
			"-public-url=http://"+p.Public, "-http.trusted-proxies=127.0.0.1/32", "-http.listen=127.0.0.1:0", "-ops.listen=127.0.0.1:0",
			"-quic.listen=127.0.0.1:0", "-quic.public-host=",
		)
		if one.Target == "gateway" {
			at := doors[1+one.Number]
			p.Gateways = append(p.Gateways, "http://"+at)
			one.Args = append(one.Args, "-http.listen="+at)
		}
		if one.Target == "upload" && o.Inbox != "" {
			one.Args = append(one.Args, "-upload.bucket.url="+o.Engines.url(o.Inbox))
		}
		one.Args = append(one.Args, o.More...)
		p.Processes = append(p.Processes, one)
	}
	return p, nil
}

// engines are the settings of where the engines are.
func (o Options) engines() []string {
	e := o.Engines
	return []string{
		"-event.kafka=" + e.Kafka, "-event.kafka-replicas=1", "-event.kafka-prefix=" + o.Name + "-",
		"-postgres.url=" + e.Postgres,
		"-cassandra.hosts=" + e.Cassandra, "-cassandra.replication=datacenter1:1", "-cassandra.keyspace=" + o.Name,
		"-redis.addr=" + e.Redis, "-blob.url=" + e.url(o.Bucket),
	}
}

// The ports that FreePorts draws from: Linux takes none of them for the near end of a
// connection, as the engines' clients have hundreds while the processes start.
const (
	portsFrom = 20000
	portsTo   = 32000
)

// FreePorts are addresses that nobody listened on a moment ago.
func FreePorts(ctx context.Context, n int) (out []string, err error) {
	for try := 0; len(out) < n; try++ {
		at := fmt.Sprintf("127.0.0.1:%d", portsFrom+rand.IntN(portsTo-portsFrom)) //nolint:gosec // a draw, no secret
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at)
		if err != nil {
			if try > portsTo-portsFrom {
				return nil, err
			}
			continue
		}
		defer func() { _ = l.Close() }() // at the end, so that they differ
		out = append(out, at)
	}
	return out, nil
}
