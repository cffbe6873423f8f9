package testengine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Broker is a running Apache Kafka, which is a controller too.
type Broker struct {
	// Seeds are the addresses of all brokers of its cluster, "host:port", its own first.
	Seeds []string
	// Secured is a listener by TLS and SCRAM-SHA-512, "localhost:port", where there is one.
	Secured string

	libs, dir        string
	id               int
	port, controller string
	voters           []string
	more             []string // settings
	users            []string // name and password of SCRAM
	process          *process
}

// Kafka starts a broker that ends with the test. It takes seconds and some hundred
// megabytes, so the tests of one package share one.
func Kafka(tb Host) *Broker {
	tb.Helper()
	return startKafka(tb, 1, nil)[0]
}

// KafkaCluster starts n brokers that are one cluster, of which each can be killed and
// paused by itself.
func KafkaCluster(tb Host, n int) []*Broker {
	tb.Helper()
	return startKafka(tb, n, nil)
}

// Secrets are what a secured broker is known by, and lets in: PEM files and a user.
type Secrets struct{ Cert, Key, User, Password string }

// SecuredKafka starts a broker that also listens by TLS, to those who know the password.
func SecuredKafka(tb Host, s Secrets) *Broker {
	tb.Helper()
	return startKafka(tb, 1, &s)[0]
}

func startKafka(tb Host, n int, secrets *Secrets) []*Broker {
	tb.Helper()
	libs := locate(tb, "kafka")
	all := make([]*Broker, n)
	for i := range all {
		b := &Broker{libs: libs, dir: tb.TempDir(), id: i + 1}
		all[i] = b
		endWith(tb, func() *process { return b.process })
	}
	for try := 1; ; try++ {
		err := all[0].together(tb, all, secrets)
		if err == nil {
			return all
		}
		again := false
		for _, b := range all {
			if b.process != nil {
				again = again || b.process.log.has("Address already in use")
				b.process.kill()
			}
		}
		if !again || try == tries {
			tb.Fatalf("start Kafka: %v", err)
		}
	}
}

// together starts the brokers of a cluster, which wait for each other.
func (b *Broker) together(tb Host, all []*Broker, secrets *Secrets) error {
	ports, err := freePorts(tb.Context(), 3*len(all))
	if err != nil {
		return err
	}
	for i, b := range all {
		b.port, b.controller, b.Seeds, b.voters = ports[3*i], ports[3*i+1], nil, nil
		for j := range all {
			b.Seeds = append(b.Seeds, "127.0.0.1:"+ports[3*((i+j)%len(all))])
			b.voters = append(b.voters, fmt.Sprintf("%d@127.0.0.1:%s", j+1, ports[3*j+1]))
		}
		if secrets != nil {
			if err := b.secure(ports[3*i+2], secrets); err != nil {
				return err
			}
		}
		if err := b.format(tb.Context()); err != nil {
			return fmt.Errorf("format the broker's folder: %w", err)
		}
	}
	began := time.Now()
	for _, b := range all {
		if b.process, err = b.launch(); err != nil {
			return err
		}
	}
	for _, b := range all {
		if err := b.process.wait(tb.Context(), b.process.log.ready); err != nil {
			return fmt.Errorf("%w\n%s", err, b.process)
		}
	}
	tb.Logf("%d of Kafka are ready after %v", len(all), time.Since(began).Round(time.Millisecond))
	return nil
}

// secure has the broker listen by TLS too.
func (b *Broker) secure(port string, s *Secrets) error {
	b.Secured = "localhost:" + port
	b.users = []string{fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", s.User, s.Password)}
	b.more = []string{"ssl.keystore.type=PEM", "sasl.enabled.mechanisms=SCRAM-SHA-512", "listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"}
	for name, file := range map[string]string{"ssl.keystore.certificate.chain": s.Cert, "ssl.keystore.key": s.Key} {
		pem, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		b.more = append(b.more, name+"="+strings.ReplaceAll(strings.TrimSpace(string(pem)), "\n", "\\n"))
	}
	return nil
}

// Crash kills the broker, with no time to tidy up.
func (b *Broker) Crash() { b.process.kill() }

// Pause stops the broker as it stands: it keeps its connections and answers nothing.
func (b *Broker) Pause() error { return b.process.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a broker that was paused go on.
func (b *Broker) Resume() error { return b.process.cmd.Process.Signal(syscall.SIGCONT) }

// Restart starts a broker that has crashed, at its old address and with its data, and
// returns when it is ready.
func (b *Broker) Restart(ctx context.Context) error {
	p, err := b.run(ctx)
	if p != nil {
		b.process = p
	}
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return nil
}

// java is the command line before the class: a small heap, and no time spent on
// optimizing what runs for a minute.
func (b *Broker) java() []string {
	return []string{
		"-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
		"-cp", filepath.Join(b.libs, "*"),
	}
}

func (b *Broker) settings() string { return filepath.Join(b.dir, "server.properties") }

// format writes the settings and makes the broker's folder anew.
func (b *Broker) format(ctx context.Context) error {
	replicas, least := strconv.Itoa(len(b.Seeds)), strconv.Itoa(max(1, len(b.Seeds)-1))
	listeners, protocols := "PLAINTEXT://127.0.0.1:"+b.port, "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"
	advertised := listeners
	if b.Secured != "" {
		listeners, protocols = listeners+",SECURED://"+b.Secured, protocols+",SECURED:SASL_SSL"
		advertised = listeners
	}
	settings := lines(append([]string{
		"process.roles=broker,controller",
		"node.id=" + strconv.Itoa(b.id),
		"controller.quorum.voters=" + strings.Join(b.voters, ","),
		"listeners=" + listeners + ",CONTROLLER://127.0.0.1:" + b.controller,
		"advertised.listeners=" + advertised,
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=PLAINTEXT",
		"listener.security.protocol.map=" + protocols,
		"log.dirs=" + filepath.Join(b.dir, "data"),
		// Groups and transactions hang where their topics want more replicas than there are nodes.
		"offsets.topic.num.partitions=1",
		"offsets.topic.replication.factor=" + replicas,
		"transaction.state.log.num.partitions=1",
		"transaction.state.log.replication.factor=" + replicas,
		"transaction.state.log.min.isr=" + least,
		"share.coordinator.state.topic.replication.factor=" + replicas,
		"share.coordinator.state.topic.min.isr=" + least,
		"group.initial.rebalance.delay.ms=0",
		"auto.create.topics.enable=false",
		// Hundreds of partitions, each with next to nothing in it.
		"log.index.size.max.bytes=65536",
		// A topic that is deleted goes at once, and its files with it.
		"file.delete.delay.ms=0",
	}, b.more...)...)
	if err := os.WriteFile(b.settings(), settings, 0o600); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(b.dir, "data")); err != nil {
		return err
	}
	const cluster = "MkU3OEVBNTcwNTJENDM2Qg" // any UUID
	args := append(b.java(), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", b.settings())
	for _, u := range b.users {
		args = append(args, "--add-scram", u)
	}
	p, err := launch("StorageTool", b.dir, "", environment(), "java", args...)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	case <-p.done:
	}
	if p.err != nil {
		return fmt.Errorf("%w: %s", p.err, bytes.TrimSpace([]byte(p.log.String())))
	}
	return nil
}

// launch starts the formatted broker. It says that it has started when clients may use it:
// its port is open before that.
func (b *Broker) launch() (*process, error) {
	return launch("Kafka "+strconv.Itoa(b.id), b.dir, "Kafka Server started", environment(), "java",
		append(b.java(), "kafka.Kafka", b.settings())...)
}

// run starts the broker and waits for it.
func (b *Broker) run(ctx context.Context) (*process, error) {
	p, err := b.launch()
	if err != nil {
		return nil, err
	}
	return p, p.wait(ctx, p.log.ready)
}
