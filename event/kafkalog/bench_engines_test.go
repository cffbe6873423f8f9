//go:build engines

package kafkalog_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segue-music/segue/event/kafkalog"
	"github.com/segue-music/segue/internal/testengine"
)

// BenchmarkAppend_Kafka is BenchmarkAppend on the real broker, of one node on this machine.
func BenchmarkAppend_Kafka(b *testing.B) {
	kafka := testengine.Kafka(b)
	l, err := kafkalog.Open(b.Context(), kafkalog.Options{Client: []kgo.Opt{kgo.SeedBrokers(kafka.Seeds...)}, Replicas: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	for _, producers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(producers, "x100"), func(b *testing.B) { appendBatches(b, l, producers) })
	}
}
