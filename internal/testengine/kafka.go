package testengine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Broker is a running Apache Kafka of one node, which is its own controller.
type Broker struct {
	// Seeds are its address, "host:port".
	Seeds []string

	libs, dir string
	process   *process
}

// Kafka starts a broker that ends with the test. It takes seconds and some hundred
// megabytes, so the tests of one package share one.
func Kafka(tb Host) *Broker {
	tb.Helper()
	b := &Broker{libs: locate(tb, "kafka"), dir: tb.TempDir()}
	b.process = start(tb, 2, func(ports []string) (*process, error) {
		b.Seeds = []string{"127.0.0.1:" + ports[0]}
		if err := b.format(tb.Context(), ports[0], ports[1]); err != nil {
			return nil, fmt.Errorf("format the broker's folder: %w", err)
		}
		return b.run(tb.Context())
	})
	endWith(tb, func() *process { return b.process })
	return b
}

// Crash kills the broker, with no time to tidy up.
func (b *Broker) Crash() { b.process.kill() }

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
func (b *Broker) format(ctx context.Context, port, controller string) error {
	settings := lines(
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@127.0.0.1:"+controller,
		"listeners=PLAINTEXT://127.0.0.1:"+port+",CONTROLLER://127.0.0.1:"+controller,
		"advertised.listeners=PLAINTEXT://127.0.0.1:"+port,
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=PLAINTEXT",
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
		"log.dirs="+filepath.Join(b.dir, "data"),
		// Groups and transactions hang where their topics want more replicas than there are nodes.
		"offsets.topic.num.partitions=1",
		"offsets.topic.replication.factor=1",
		"transaction.state.log.num.partitions=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
		"auto.create.topics.enable=false",
		// Hundreds of partitions, each with next to nothing in it.
		"log.index.size.max.bytes=65536",
		// A topic that is deleted goes at once, and its files with it.
		"file.delete.delay.ms=0",
	)
	if err := os.WriteFile(b.settings(), settings, 0o600); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(b.dir, "data")); err != nil {
		return err
	}
	const cluster = "MkU3OEVBNTcwNTJENDM2Qg" // any UUID
	p, err := launch("StorageTool", b.dir, "", environment(), "java",
		append(b.java(), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", b.settings())...)
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

// run starts the formatted broker. It says that it has started when clients may use it:
// its port is open before that.
func (b *Broker) run(ctx context.Context) (*process, error) {
	p, err := launch("Kafka", b.dir, "Kafka Server started", environment(), "java",
		append(b.java(), "kafka.Kafka", b.settings())...)
	if err != nil {
		return nil, err
	}
	return p, p.wait(ctx, p.log.ready)
}
