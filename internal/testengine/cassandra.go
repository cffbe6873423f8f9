package testengine

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// What a node reads at its start beside its own settings: cassandra-all has neither.
//
//go:embed cassandra/*
var cassandraFiles embed.FS

// CassandraNode is a running node of Apache Cassandra.
type CassandraNode struct {
	// Host is its address for clients, "host:port".
	Host string

	libs, dir, address, storage, native, seed string
	process                                   *process
}

// Cassandra starts a ring of one node that ends with the test. It takes ten seconds and
// most of a gigabyte, so the tests of one package share one. The data centre of every
// node is "datacenter1".
func Cassandra(tb Host) *CassandraNode {
	tb.Helper()
	return startCassandra(tb, "127.0.0.1", nil)
}

// CassandraRing starts a ring of n nodes, each with all data where the replication
// factor is n.
func CassandraRing(tb Host, n int) (ring []*CassandraNode) {
	tb.Helper()
	for i := range n {
		// Nodes of a ring share their ports, so each has an address of its own.
		address, first := fmt.Sprintf("127.0.0.%d", i+1), (*CassandraNode)(nil)
		if i > 0 {
			first = ring[0]
		}
		ring = append(ring, startCassandra(tb, address, first))
	}
	return ring
}

func startCassandra(tb Host, address string, first *CassandraNode) *CassandraNode {
	tb.Helper()
	c := &CassandraNode{libs: locate(tb, "cassandra"), dir: tb.TempDir(), address: address}
	begin := func() (*process, error) {
		c.Host = c.address + ":" + c.native
		if err := c.format(); err != nil {
			return nil, fmt.Errorf("format the node's folder: %w", err)
		}
		return c.run(tb.Context())
	}
	c.process = start(tb, 2, func(ports []string) (*process, error) {
		c.storage, c.native, c.seed = ports[0], ports[1], c.address
		if first != nil {
			c.storage, c.native, c.seed = first.storage, first.native, first.address
		}
		return begin()
	})
	endWith(tb, func() *process { return c.process })
	return c
}

// Crash kills the node, with no time to tidy up.
func (c *CassandraNode) Crash() { c.process.kill() }

// Pause stops the node as it stands: it keeps its connections and answers nothing.
func (c *CassandraNode) Pause() error { return c.process.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a node that was paused go on.
func (c *CassandraNode) Resume() error { return c.process.cmd.Process.Signal(syscall.SIGCONT) }

// Restart starts a node that has crashed, at its old address and with its data, and
// returns when clients may use it.
func (c *CassandraNode) Restart(ctx context.Context) error {
	p, err := c.run(ctx)
	if p != nil {
		c.process = p
	}
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return nil
}

// Tables is the folder of the node's data, with one of each keyspace.
func (c *CassandraNode) Tables() string { return c.file("data/data") }

func (c *CassandraNode) file(name string) string { return filepath.Join(c.dir, name) }

// format writes the settings and makes the node's folder anew.
func (c *CassandraNode) format() error {
	settings := lines(
		"cluster_name: test",
		"num_tokens: 1",
		"partitioner: org.apache.cassandra.dht.Murmur3Partitioner",
		"endpoint_snitch: SimpleSnitch",
		"listen_address: "+c.address,
		"rpc_address: "+c.address,
		"storage_port: "+c.storage,
		"native_transport_port: "+c.native,
		"start_native_transport: true",
		"seed_provider:",
		"  - class_name: org.apache.cassandra.locator.SimpleSeedProvider",
		"    parameters:",
		`      - seeds: "`+c.seed+":"+c.storage+`"`,
		// A killed process leaves what it wrote with the kernel: only a power cut would take it.
		"commitlog_sync: periodic",
		"commitlog_sync_period: 10000ms",
		"commitlog_disk_access_mode: legacy",
		"commitlog_total_space: 1GiB", // else up to a quarter of the disk
		"auto_snapshot: false",
		"auto_bootstrap: false",
		"authenticator: AllowAllAuthenticator",
		"authorizer: AllowAllAuthorizer",
		"materialized_views_enabled: false",
		"concurrent_compactors: 1",
		"memtable_heap_space: 64MiB",
		"memtable_offheap_space: 64MiB",
		"key_cache_size: 8MiB",
		// For a machine busy with compilers.
		"read_request_timeout: 5s",
		"write_request_timeout: 5s",
		"cas_contention_timeout: 5s",
		"truncate_request_timeout: 60s",
	)
	if err := os.WriteFile(c.file("cassandra.yaml"), settings, 0o600); err != nil {
		return err
	}
	for _, name := range []string{"jvm17.options", "logback.xml"} {
		text, err := cassandraFiles.ReadFile("cassandra/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.file(name), text, 0o600); err != nil {
			return err
		}
	}
	return os.RemoveAll(c.file("data"))
}

// run starts the node. It says that it has started when clients may use it.
func (c *CassandraNode) run(ctx context.Context) (*process, error) {
	jamm, err := filepath.Glob(filepath.Join(c.libs, "jamm-*.jar"))
	if err != nil || len(jamm) != 1 {
		return nil, fmt.Errorf("find jamm among the jars: %v, %w", jamm, err)
	}
	p, err := launch("Cassandra "+c.address, c.dir, "Startup complete", environment(), "java",
		"-Xms256m", "-Xmx1g", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError",
		"@"+c.file("jvm17.options"), "-javaagent:"+jamm[0],
		"-Dcassandra.config=file:"+c.file("cassandra.yaml"), "-Dlogback.configurationFile="+c.file("logback.xml"),
		"-Dcassandra.storagedir="+c.file("data"), "-Dcassandra.skip_wait_for_gossip_to_settle=0",
		"-Dcassandra-foreground=yes", // else it closes its output before it says that it has started
		"-Dcassandra.ring_delay_ms=0", "-Dcassandra.superuser_setup_delay_ms=0", "-Dcassandra.consistent.rangemovement=false",
		"-cp", c.dir+":"+filepath.Join(c.libs, "*"), "org.apache.cassandra.service.CassandraDaemon")
	if err != nil {
		return nil, err
	}
	return p, p.wait(ctx, p.log.ready)
}
