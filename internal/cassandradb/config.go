package cassandradb

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/segue-music/segue/internal/credfile"
)

// Config is how to reach a ring.
type Config struct {
	// Hosts are some of its nodes, comma-separated host:port; the others are found by them.
	Hosts string
	// Keyspace is the beginning of the name of each service's keyspace.
	Keyspace string
	// Datacenter is the one that this process reads from and writes to.
	Datacenter string
	// Replication says how many copies each data centre keeps, "dc1:3,dc2:3"; it is of use
	// to Migrate only.
	Replication        string
	User, PasswordFile string
	// CAFile makes connections TLS, with a certificate of that authority on the other side.
	CAFile string
	// Timeout is when one statement is given up. The nodes' own limits are to be shorter.
	Timeout time.Duration
}

// RegisterFlags adds the settings under prefix.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Hosts, prefix+".hosts", "", "comma-separated host:port of Cassandra nodes, for players, sessions and keys; empty keeps them in the data folder")
	fs.StringVar(&c.Keyspace, prefix+".keyspace", "segue", "beginning of the names of the keyspaces in Cassandra: one with _playback is playback's")
	fs.StringVar(&c.Datacenter, prefix+".datacenter", "datacenter1", "Cassandra's data centre that this process uses; all that write are to use one")
	fs.StringVar(&c.Replication, prefix+".replication", "datacenter1:3", "copies that each data centre keeps, comma-separated name:copies, for a keyspace that -target=migrate makes")
	fs.StringVar(&c.User, prefix+".user", "", "user of Cassandra; empty is none")
	fs.StringVar(&c.PasswordFile, prefix+".password.file", "", "file with the password of cassandra.user")
	fs.StringVar(&c.CAFile, prefix+".ca.file", "", "file with the PEM certificates of the authority that signed the nodes'; empty is no TLS")
	fs.DurationVar(&c.Timeout, prefix+".timeout", 6*time.Second, "when one statement in Cassandra is given up; longer than the nodes' own limits")
}

// On says whether Cassandra is to be used.
func (c *Config) On() bool { return c.Hosts != "" }

// Check refuses settings that cannot work.
func (c *Config) Check() error {
	if !c.On() {
		return nil
	}
	for host := range strings.SplitSeq(c.Hosts, ",") {
		if name, port, ok := strings.Cut(strings.TrimSpace(host), ":"); !ok || name == "" || port == "" {
			return fmt.Errorf("cassandra.hosts: %q is not host:port", host)
		}
	}
	if !plain(c.Keyspace) || len(c.Keyspace) > 24 {
		return fmt.Errorf("cassandra.keyspace %q is not lower-case letters, digits and underscores, at most 24", c.Keyspace)
	}
	if c.Datacenter == "" {
		return errors.New("cassandra.datacenter is empty")
	}
	if (c.User == "") != (c.PasswordFile == "") {
		return errors.New("cassandra.user and cassandra.password.file go together")
	}
	if c.Timeout < time.Second {
		return errors.New("cassandra.timeout is under 1s")
	}
	_, err := c.replication()
	return err
}

// plain says that a name needs no quotes in CQL.
func plain(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == "" && name[0] >= 'a'
}

// replication is the keyspace's, as CQL writes it.
func (c *Config) replication() (string, error) {
	out := "{'class': 'NetworkTopologyStrategy'"
	for part := range strings.SplitSeq(c.Replication, ",") {
		dc, n, _ := strings.Cut(strings.TrimSpace(part), ":")
		copies, err := strconv.Atoi(n)
		if dc == "" || strings.ContainsRune(dc, '\'') || err != nil || copies < 1 || copies > 9 {
			return "", fmt.Errorf("cassandra.replication: %q is not name:copies", part)
		}
		out += fmt.Sprintf(", '%s': %d", dc, copies)
	}
	return out + "}", nil
}

const (
	connectLimit = 5 * time.Second
	// retries of a statement that does no harm when it is done twice.
	retries    = 3
	retryFirst = 20 * time.Millisecond
	retryMost  = 500 * time.Millisecond
	// reconnect is how often a node that is down is tried.
	reconnect = 5 * time.Second
	// agreement bounds the wait for all nodes to know a change of the schema.
	agreement = time.Minute
)

// cluster is the driver's configuration; keyspace may be empty.
func (c *Config) cluster(keyspace string) (*gocql.ClusterConfig, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	var hosts []string
	for host := range strings.SplitSeq(c.Hosts, ",") {
		hosts = append(hosts, strings.TrimSpace(host))
	}
	cfg := gocql.NewCluster(hosts...)
	if _, port, _ := strings.Cut(hosts[0], ":"); port != "" {
		cfg.Port, _ = strconv.Atoi(port) // Check has seen it; of nodes that tell no port of their own
	}
	cfg.Keyspace, cfg.ProtoVersion = keyspace, 5
	cfg.Timeout, cfg.WriteTimeout, cfg.ConnectTimeout = c.Timeout, c.Timeout, connectLimit
	cfg.Consistency, cfg.SerialConsistency = gocql.LocalQuorum, gocql.LocalSerial
	// A time of this process's clock on a write would lose to, or win over, one of another's:
	// the nodes' clocks and, for a conditional write, its ballot say which is later.
	cfg.DefaultTimestamp = false
	cfg.RetryPolicy = &gocql.ExponentialBackoffRetryPolicy{NumRetries: retries, Min: retryFirst, Max: retryMost}
	// The same replica first, so that conditional writes of one partition meet in one place.
	cfg.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy(c.Datacenter), gocql.DoNotShuffleReplicas())
	cfg.ReconnectInterval, cfg.MaxWaitSchemaAgreement = reconnect, agreement
	if c.User != "" {
		password, err := credfile.Password(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read the password for Cassandra: %w", err)
		}
		cfg.Authenticator = gocql.PasswordAuthenticator{Username: c.User, Password: password}
	}
	if c.CAFile != "" {
		pool, err := credfile.Authorities(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the authority of Cassandra's nodes: %w", err)
		}
		cfg.SslOpts = &gocql.SslOptions{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, EnableHostVerification: true}
	}
	return cfg, nil
}
